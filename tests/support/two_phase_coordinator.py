"""A coordinator in a process of its own, which ends or stalls itself at a named step; takes one JSON argument.

`orders_url`, `payments_url`; `id`: the row that it writes in both; `step` and `signal`: what it sends itself there;
`is_refused`: payments cannot prepare. Prints the outcome.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from two_databases import coordinating

from producers.two_phase.participant import Branch

INSERT = "insert into commands (id, scope, body_hash, state) values (%s, 'two-phase', '', 'RUNNING')"


def main(task: dict[str, object]) -> None:
    def work(branches: Mapping[str, Branch]) -> None:
        for branch in branches.values():
            branch.connection.execute(INSERT, (task["id"],))
        if task["is_refused"]:
            # A transaction that notifies cannot be prepared.
            branches["payments"].connection.execute("notify nobody")

    with coordinating(task, "two-phase") as (_, coordinator, _):
        print(coordinator.run(("orders", "payments"), work), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
