"""Looks at the slot from beside the stream: what it holds of the server's log, and how fast rows go out.

A thread and a connection of its own, so that it sees a slot fill the disk also while Kafka makes the carrier wait.
"""

from __future__ import annotations

import threading
import time

import psycopg
import structlog

from connectors.outbox.config import OutboxConfig
from connectors.outbox.database import connect
from connectors.outbox.metrics import Metrics, SlotFigures

_log = structlog.get_logger()

LOOK_EVERY_S = 5.0
_ANSWER_WITHIN_S = 5
_END_WITHIN_S = 2.0
_QUERY = """select pg_wal_lsn_diff(here, restart_lsn)::float8, pg_wal_lsn_diff(here, confirmed_flush_lsn)::float8,
safe_wal_size::float8, wal_status from pg_replication_slots,
lateral (select case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end as here) now
where slot_name = %s"""


class Watcher:
    """Fills `metrics.slot` and the rates every `every_s` seconds while it is entered."""

    def __init__(self, config: OutboxConfig, metrics: Metrics, every_s: float = LOOK_EVERY_S) -> None:
        self._config, self._metrics, self._every_s = config, metrics, every_s
        self._ended = threading.Event()
        self._connection: psycopg.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(_END_WITHIN_S)

    def _run(self) -> None:
        metrics, since = self._metrics, time.monotonic()
        rows, transactions = metrics.rows_total, metrics.transactions_total
        while not self._ended.wait(self._every_s):
            now = time.monotonic()
            metrics.rows_per_second = (metrics.rows_total - rows) / (now - since)
            metrics.transactions_per_second = (metrics.transactions_total - transactions) / (now - since)
            since, rows, transactions = now, metrics.rows_total, metrics.transactions_total
            self._look()
        if self._connection is not None:
            self._connection.close()

    def _look(self) -> None:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._config)
                self._connection.execute(f"set statement_timeout = '{_ANSWER_WITHIN_S}s'")
            row = self._connection.execute(_QUERY, (self._config.slot,)).fetchone()
        except psycopg.Error as error:
            # The carrier says loudly that the database is away; here it only means that there is no figure.
            _log.debug("no figures of the slot", error=str(error))
            if self._connection is not None:
                self._connection.close()
            row = None
        self._metrics.slot = None if row is None else SlotFigures(*row)
