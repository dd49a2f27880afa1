"""The pivots of wallet orders and the recovery behind them, as they run beside the command sink of orders."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import structlog

from producers.store.connections import PoolSize, open_pool
from producers.two_phase.coordinator import Coordinator
from producers.two_phase.decisions import Decisions
from producers.two_phase.identifiers import Identity
from producers.two_phase.metrics import TwoPhaseMetrics
from producers.two_phase.postgres import PostgresParticipant
from producers.two_phase.recovery import Recovery
from producers.two_phase.watching import Watch
from producers.wallets.pivot import AT_ONCE_MAX, ORDERS_DATABASE, PAYMENTS_DATABASE, WalletPivot
from schemas.codec import Codec

log = structlog.get_logger(__name__)

ASK_AGAIN_S = 1.0
STOP_WITHIN_S = 10.0
# Each pivot holds one connection in each database, and one more to decide and resolve; recovery has its own, and one
# listens.
POOL = PoolSize(min=1, max=2 * AT_ONCE_MAX + 3)


@contextmanager
def wallet_orders(
    orders_url: str, payments_url: str, coordinator: str, codec: Codec, metrics: TwoPhaseMetrics
) -> Iterator[None]:
    """Runs both until the block ends; waits by itself for databases that are away.

    `coordinator` names this process among those of its kind; its successor must have the same name.
    """
    orders, payments = (open_pool(url, "two-phase", POOL) for url in (orders_url, payments_url))
    decisions, stopping = Decisions(orders), threading.Event()
    participants = {
        ORDERS_DATABASE: PostgresParticipant(ORDERS_DATABASE, orders),
        PAYMENTS_DATABASE: PostgresParticipant(PAYMENTS_DATABASE, payments),
    }

    def run() -> None:
        owner = _begin_life(decisions, coordinator, stopping)
        if owner is None:
            return
        recovery = Recovery(owner, decisions, participants, on_pass=Watch(participants, metrics))
        pivot = WalletPivot(orders, Coordinator(owner, decisions, participants), codec)
        recovery.start()
        pivot.start()
        stopping.wait()
        pivot.stop()
        recovery.stop()

    thread = threading.Thread(target=run, name="wallet-orders", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(STOP_WITHIN_S)
        orders.close()
        payments.close()


def _begin_life(decisions: Decisions, coordinator: str, stopping: threading.Event) -> Identity | None:
    while not stopping.is_set():
        try:
            return decisions.begin_life(coordinator)
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable) as error:
            log.warning("waits for the orders database", error=type(error).__name__)
            stopping.wait(ASK_AGAIN_S)
    return None
