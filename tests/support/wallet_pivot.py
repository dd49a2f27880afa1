"""A pivot in a process of its own, which ends or stalls itself at a named step; takes one JSON argument.

`orders_url`, `payments_url`; `id`: the confirmation; `step` and `signal`: what it sends itself there.
Prints whether the confirmation was brought to an end.
"""

from __future__ import annotations

import json
import os
import sys

from producers.store.connections import open_pool
from producers.two_phase.coordinator import Coordinator
from producers.two_phase.decisions import Decisions
from producers.two_phase.postgres import PostgresParticipant
from producers.wallets.pivot import PivotSettings, WalletPivot


def main(task: dict[str, object]) -> None:
    orders = open_pool(str(task["orders_url"]), "pivot-orders")
    payments = open_pool(str(task["payments_url"]), "pivot-payments")
    decisions = Decisions(orders)
    participants = {
        "orders": PostgresParticipant("orders", orders),
        "payments": PostgresParticipant("payments", payments),
    }

    def steps(step: str) -> None:
        if step == task["step"]:
            os.kill(os.getpid(), int(str(task["signal"])))

    coordinator = Coordinator(decisions.begin_life("test"), decisions, participants, steps)
    pivot = WalletPivot(orders, coordinator, settings=PivotSettings(reached=steps))
    print(pivot.pay(str(task["id"])), flush=True)
    orders.close()
    payments.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
