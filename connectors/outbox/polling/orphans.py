"""Settles what processes left behind that ended without a successor on their seat.

A killed process leaves its Kafka transaction open, which holds back every read_committed reader of the topics until
Kafka's own time-out. Taking over its transactional id ends it at once; who does so must hold the seat meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence, Set

import structlog

from connectors.outbox.config import OutboxConfig
from connectors.outbox.metrics import Metrics
from connectors.outbox.polling.claims import Claims
from connectors.outbox.polling.recovery import recover
from connectors.outbox.polling.session import Session, seat_config
from connectors.outbox.publisher import Publisher

_log = structlog.get_logger()

_EVERY_S = 1.0


class Orphans:
    """Served between two batches. Raises psycopg.Error, ProducerLost, Fenced, Stopped.

    `used` are the seats that were ever taken: whatever of them nobody sits on now may have left something.
    """

    def __init__(
        self,
        config: OutboxConfig,
        session: Session,
        tables: Sequence[Claims],
        metrics: Metrics,
        stop: threading.Event,
        used: Set[int],
    ) -> None:
        self._config, self._session, self._tables = config, session, tables
        self._metrics, self._stop = metrics, stop
        self._unsettled = set(used) - {session.seat}
        self._next_at = 0.0

    def serve(self, taken: Sequence[int]) -> None:
        """Does what is due by now; `taken` are the seats that somebody sits on."""
        self._unsettled |= set(taken) - {self._session.seat}
        now = time.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + _EVERY_S
        for seat in sorted(self._unsettled - set(taken)):
            self._settle(seat)

    def _settle(self, seat: int) -> None:
        if self._session.take_seat(seat) is None:
            return
        try:
            config = seat_config(self._config, seat)
            Publisher(config, self._metrics.beat, self._stop.is_set).take_over()
            recover(config, self._session.connection, self._tables)
        finally:
            self._session.leave_seat(seat)
        self._unsettled.discard(seat)
        _log.info("settled what another process left", seat=seat)
