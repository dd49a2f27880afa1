"""Looks at the slot from beside the stream: what it holds of the server's log, and how fast rows go out.

A thread and a connection of its own, so that it sees a slot fill the disk also while Kafka makes the carrier wait.
"""

from __future__ import annotations

import time

import psycopg
import structlog

from connectors.outbox.config import OutboxConfig
from connectors.outbox.database import connect
from connectors.outbox.lookout import Lookout
from connectors.outbox.metrics import Metrics, SlotFigures

_log = structlog.get_logger()

LOOK_EVERY_S = 5.0
_ANSWER_WITHIN_S = 5
_QUERY = """select pg_wal_lsn_diff(here, restart_lsn)::float8, pg_wal_lsn_diff(here, confirmed_flush_lsn)::float8,
safe_wal_size::float8, wal_status from pg_replication_slots,
lateral (select case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end as here) now
where slot_name = %s"""


class Watcher(Lookout):
    """Fills `metrics.slot` and the rates every `every_s` seconds while it is entered."""

    def __init__(self, config: OutboxConfig, metrics: Metrics, every_s: float = LOOK_EVERY_S) -> None:
        super().__init__("watcher", every_s)
        self._config, self._metrics = config, metrics
        self._connection: psycopg.Connection | None = None
        self._counted = self._count()

    def _count(self) -> tuple[float, int, int]:
        return time.monotonic(), self._metrics.rows_total, self._metrics.transactions_total

    def _look(self) -> None:
        (since, rows, transactions), self._counted = self._counted, self._count()
        now, rows_now, transactions_now = self._counted
        self._metrics.rows_per_second = (rows_now - rows) / (now - since)
        self._metrics.transactions_per_second = (transactions_now - transactions) / (now - since)
        self._look_at_slot()

    def _run(self) -> None:
        super()._run()
        if self._connection is not None:
            self._connection.close()

    def _look_at_slot(self) -> None:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._config, answer_within_s=_ANSWER_WITHIN_S)
            row = self._connection.execute(_QUERY, (self._config.slot,)).fetchone()
        except psycopg.Error as error:
            # The carrier says loudly that the database is away; here it only means that there is no figure.
            _log.debug("no figures of the slot", error=str(error))
            if self._connection is not None:
                self._connection.close()
            row = None
        self._metrics.slot = None if row is None else SlotFigures(*row)
