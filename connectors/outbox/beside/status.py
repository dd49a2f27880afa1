"""Keeps the tables behind the view `<outbox>_status` true, where they are; the connector works all the same without them.

Kafka is asked first and the tables follow, so they are late and never early; at a start they are written anew.
They are written by a thread of its own: in the carrier's, each second of carrying would wait for their commit.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

import psycopg
import structlog
from psycopg import sql

from connectors.outbox.beside.horizon import Horizon, ask_horizon
from connectors.outbox.config import OutboxConfig
from connectors.outbox.database import connect
from connectors.outbox.errors import DatabaseLost, first_line
from connectors.outbox.metrics import Metrics
from connectors.outbox.positions import StoredPosition, format_position
from connectors.outbox.waiting.aggregates import Blocked
from connectors.outbox.waiting.entries import Entry, State
from schemas.outbox_status import PROGRESS, UNPUBLISHED, beside

_log = structlog.get_logger()

_EVERY_S = 1.0
# Without tables, or while the database refuses: how often it is tried again.
_AGAIN_S = 60.0
# Longer than the server lets a statement of ours take.
_END_WITHIN_S = 2.5

Told = dict[bytes, tuple[str, str, str]]


class _Facts(NamedTuple):
    """What was true at one moment: the stored position, how much was carried, and what of it is not published."""

    position: int
    carried: int
    told: Told


class StatusTables:
    """Hands the facts to the writer at most once a second, and only when something was published, failed or mended.

    So an idle outbox writes no log. One for each stream.
    """

    def __init__(self, config: OutboxConfig, blocked: Blocked, metrics: Metrics) -> None:
        self._blocked, self._metrics, self._writer = blocked, metrics, _Writer(config)
        self._next_at = 0.0

    def serve(self, stored: StoredPosition) -> None:
        """Never waits. A database that refuses costs nothing but the view."""
        now = time.monotonic()
        if now < self._next_at or now < self._writer.again_at:
            return
        self._next_at = now + _EVERY_S
        carried = self._metrics.rows_total + self._metrics.mended_total
        if self._writer.knows(carried):
            return
        self._writer.take(_Facts(stored.position, carried, {entry.key: _told(entry) for entry in self._blocked}))

    def close(self) -> None:
        """Ends the writer."""
        self._writer.end()


class _Writer:
    """The thread and its connection; it begins with the first facts. Only the last facts count."""

    def __init__(self, config: OutboxConfig) -> None:
        self.again_at = 0.0
        self._config = config
        schema, table = config.schema_and_table
        self._progress = sql.Identifier(schema, beside(table, PROGRESS))
        self._unpublished = sql.Identifier(schema, beside(table, UNPUBLISHED))
        self._connection: psycopg.Connection | None = None
        self._told: Told | None = None
        # Waited for until the stored position has passed it, and how much was carried when it was asked for.
        self._horizon: Horizon | None = None
        self._carried = -1
        self._facts: _Facts | None = None
        self._wake, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def knows(self, carried: int) -> bool:
        """Whether the tables say what is to be said after so much."""
        return self._horizon is None and self._carried == carried

    def take(self, facts: _Facts) -> None:
        """Takes the facts and returns at once."""
        self._facts = facts
        if self._thread.ident is None:
            self._thread.start()
        self._wake.set()

    def end(self) -> None:
        """What is under way is finished first."""
        self._ended.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(_END_WITHIN_S)

    def _run(self) -> None:
        while self._wake.wait() and not self._ended.is_set():
            self._wake.clear()
            facts = self._facts
            if facts is None:
                continue
            try:
                self._follow(facts)
            except (psycopg.Error, DatabaseLost) as error:
                self.again_at = time.monotonic() + _AGAIN_S
                self._close()
                _log.warning("the status of rows is not written", error=first_line(error))
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._told = None

    def _follow(self, facts: _Facts) -> None:
        connection = self._connection or self._connect()
        if connection is None:
            self.again_at = time.monotonic() + _AGAIN_S
            return
        if self._horizon is None:
            self._horizon, self._carried = ask_horizon(connection), facts.carried
        if facts.position >= self._horizon.position:
            self._write(connection, facts, self._horizon.below)
            self._horizon = None

    def _connect(self) -> psycopg.Connection | None:
        """None without the tables."""
        connection = connect(self._config)
        schema, table = self._config.schema_and_table
        found = connection.execute(
            "select 1 from information_schema.tables where table_schema = %s and table_name = %s",
            (schema, beside(table, PROGRESS)),
        ).fetchone()
        if found is None:
            connection.close()
            return None
        # A lock of somebody else's must not keep a connector from ending.
        connection.execute("set lock_timeout = '200ms'")
        connection.execute("set statement_timeout = '2s'")
        self._connection = connection
        return connection

    def _write(self, connection: psycopg.Connection, facts: _Facts, below: int) -> None:
        name, now = self._config.name, facts.told
        with connection.transaction():
            if self._told is None:
                connection.execute(sql.SQL("delete from {} where connector = %s").format(self._unpublished), (name,))
            told = self._told or {}
            gone = [key.decode() for key in told if now.get(key) != told[key]]
            new = [(name, key.decode(), *row) for key, row in now.items() if told.get(key) != row]
            with connection.cursor() as cursor:
                if gone:
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
                    (name, format_position(facts.position), below),
                )
        self._told = now


def _told(entry: Entry) -> tuple[str, str, str]:
    return entry.row_id, "FAILED" if entry.state is State.FAILED else "PENDING", entry.reason
