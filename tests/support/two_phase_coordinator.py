"""A coordinator in a process of its own, which ends or stalls itself at a named step; takes one JSON argument.

`orders_url`, `payments_url`; `id`: the row that it writes in both; `step` and `signal`: what it sends itself there;
`is_refused`: payments cannot prepare. Prints the outcome.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

from producers.store.connections import open_pool
from producers.two_phase.coordinator import Coordinator
from producers.two_phase.decisions import Decisions
from producers.two_phase.participant import Branch
from producers.two_phase.postgres import PostgresParticipant

INSERT = "insert into commands (id, scope, body_hash, state) values (%s, 'two-phase', '', 'RUNNING')"


def main(task: dict[str, object]) -> None:
    orders = open_pool(str(task["orders_url"]), "two-phase-orders")
    payments = open_pool(str(task["payments_url"]), "two-phase-payments")
    decisions = Decisions(orders)
    participants = {
        "orders": PostgresParticipant("orders", orders),
        "payments": PostgresParticipant("payments", payments),
    }

    def steps(step: str) -> None:
        if step == task["step"]:
            os.kill(os.getpid(), int(str(task["signal"])))

    def work(branches: Mapping[str, Branch]) -> None:
        for branch in branches.values():
            branch.connection.execute(INSERT, (task["id"],))
        if task["is_refused"]:
            # A transaction that notifies cannot be prepared.
            branches["payments"].connection.execute("notify nobody")

    owner = decisions.begin_life("test")
    print(Coordinator(owner, decisions, participants, steps).run(("orders", "payments"), work), flush=True)
    orders.close()
    payments.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
