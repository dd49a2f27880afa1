"""Both databases of a wallet order in a process of the tests' own, which ends or stalls itself at a named step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from producers.store.connections import Pool, open_pool
from producers.two_phase.coordinator import Coordinator
from producers.two_phase.decisions import Decisions
from producers.two_phase.postgres import PostgresParticipant


@contextmanager
def coordinating(task: dict[str, object], name: str) -> Iterator[tuple[Pool, Coordinator, Callable[[str], None]]]:
    """The orders' pool, a coordinator, and what is to be told each step; `task` has orders_url, payments_url, step, signal."""
    orders = open_pool(str(task["orders_url"]), f"{name}-orders")
    payments = open_pool(str(task["payments_url"]), f"{name}-payments")
    decisions = Decisions(orders)
    participants = {
        "orders": PostgresParticipant("orders", orders),
        "payments": PostgresParticipant("payments", payments),
    }

    def steps(step: str) -> None:
        if step == task["step"]:
            os.kill(os.getpid(), int(str(task["signal"])))

    yield orders, Coordinator(decisions.begin_life("test"), decisions, participants, steps), steps
    orders.close()
    payments.close()
