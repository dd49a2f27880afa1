"""A pivot in a process of its own, which ends or stalls itself at a named step; takes one JSON argument.

`orders_url`, `payments_url`; `id`: the confirmation; `step` and `signal`: what it sends itself there.
Prints whether the confirmation was brought to an end.
"""

from __future__ import annotations

import json
import sys

from two_databases import coordinating

from producers.wallets.pivot import PivotSettings, WalletPivot


def main(task: dict[str, object]) -> None:
    with coordinating(task, "pivot") as (orders, coordinator, steps):
        pivot = WalletPivot(orders, coordinator, settings=PivotSettings(reached=steps))
        print(pivot.pay(str(task["id"])), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
