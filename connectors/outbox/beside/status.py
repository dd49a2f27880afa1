"""Keeps the tables behind the view `<outbox>_status` true, where they are; the connector works all the same without them.

Kafka is asked first and the tables follow, so they are late and never early; at a start they are written anew.
"""

from __future__ import annotations

import time

import psycopg
import structlog
from psycopg import sql

from connectors.outbox.config import OutboxConfig
from connectors.outbox.database import connect
from connectors.outbox.metrics import Metrics
from connectors.outbox.positions import StoredPosition, format_position, parse_position
from connectors.outbox.waiting.aggregates import Blocked
from connectors.outbox.waiting.entries import Entry, State
from schemas.outbox_status import PROGRESS, UNPUBLISHED, beside

_log = structlog.get_logger()

_EVERY_S = 1.0
# Without tables, or while the database refuses: how often it is tried again.
_AGAIN_S = 60.0

Told = dict[bytes, tuple[str, str, str]]


class StatusTables:
    """Written at most once a second, and only when something was published, failed or mended: an idle outbox writes no log."""

    def __init__(self, config: OutboxConfig, blocked: Blocked, metrics: Metrics) -> None:
        self._config, self._blocked, self._metrics = config, blocked, metrics
        schema, table = config.schema_and_table
        self._progress = sql.Identifier(schema, beside(table, PROGRESS))
        self._unpublished = sql.Identifier(schema, beside(table, UNPUBLISHED))
        self._connection: psycopg.Connection | None = None
        self._next_at = 0.0
        self._told: Told | None = None
        # (every transaction id below is over, once this position is stored), and how much was carried when that was asked.
        self._horizon: tuple[int, int] | None = None
        self._carried = -1

    def serve(self, stored: StoredPosition) -> None:
        """Brings the tables up to date. A database that refuses costs nothing but the view."""
        now = time.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + _EVERY_S
        try:
            self._follow(stored)
        except psycopg.Error as error:
            self._next_at = now + _AGAIN_S
            self.close()
            _log.warning("the status of rows is not written", error=str(error).strip().splitlines()[0])

    def close(self) -> None:
        """Ends the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._told = None

    def _follow(self, stored: StoredPosition) -> None:
        carried = self._metrics.rows_total + self._metrics.mended_total
        if self._horizon is None and self._carried == carried:
            return
        if self._connection is None and not self._connect():
            self._next_at = time.monotonic() + _AGAIN_S
            return
        if self._horizon is None:
            self._horizon, self._carried = self._ask(), carried
        if stored.position >= self._horizon[1]:
            self._write(stored, self._horizon[0])
            self._horizon = None

    def _connect(self) -> bool:
        connection = connect(self._config)
        schema, table = self._config.schema_and_table
        found = connection.execute(
            "select 1 from information_schema.tables where table_schema = %s and table_name = %s",
            (schema, beside(table, PROGRESS)),
        ).fetchone()
        if found is None:
            connection.close()
            return False
        # Carrying waits while this is written, so a lock of somebody else's must not hold it up.
        connection.execute("set lock_timeout = '200ms'")
        connection.execute("set statement_timeout = '2s'")
        self._connection = connection
        return True

    def _ask(self) -> tuple[int, int]:
        """First the transactions, then the position: what was over by then has its commit record before it."""
        assert self._connection is not None
        horizon = self._connection.execute("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint").fetchone()
        position = self._connection.execute("select pg_current_wal_insert_lsn()::text").fetchone()
        assert horizon is not None
        assert position is not None
        return int(horizon[0]), parse_position(position[0])

    def _write(self, stored: StoredPosition, below: int) -> None:
        assert self._connection is not None
        name, now = self._config.name, {entry.key: _told(entry) for entry in self._blocked}
        with self._connection.transaction():
            if self._told is None:
                self._connection.execute(
                    sql.SQL("delete from {} where connector = %s").format(self._unpublished), (name,)
                )
            told = self._told or {}
            gone = [key.decode() for key in told if now.get(key) != told[key]]
            new = [(name, key.decode(), *facts) for key, facts in now.items() if told.get(key) != facts]
            with self._connection.cursor() as cursor:
                cursor.execute(
                    sql.SQL("delete from {} where connector = %s and place = any(%s)").format(self._unpublished),
                    (name, gone),
                )
                cursor.executemany(sql.SQL("insert into {} values (%s, %s, %s, %s, %s)").format(self._unpublished), new)
                cursor.execute(
                    sql.SQL(
                        "insert into {} (connector, position, published_below) values (%s, %s, %s) on conflict (connector) "
                        "do update set position = excluded.position, published_below = excluded.published_below, "
                        "recorded_at = clock_timestamp()"
                    ).format(self._progress),
                    (name, format_position(stored.position), below),
                )
        self._told = now


def _told(entry: Entry) -> tuple[str, str, str]:
    return entry.row_id, "FAILED" if entry.state is State.FAILED else "PENDING", entry.reason
