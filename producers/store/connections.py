"""Connections to PostgreSQL with every wait bounded."""

from __future__ import annotations

import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import DiagnosticField, ExecStatus, Format
from psycopg.pq.abc import PGresult
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import ConnectionPool

Connection = psycopg.Connection[tuple[Any, ...]]


class PooledConnection(Connection):
    """A connection that executes the same statement again and again with little to do in between."""

    @cached_property
    def _prepared_again(self) -> dict[bytes, tuple[bytes, list[Format]]]:
        return {}

    def execute_again(self, statement: bytes, given: Sequence[object]) -> int:
        """Executes a constant statement that returns nothing, a transaction of its own; how many rows it changed.

        Its parameters are `$1` and so on: JSON objects, None, and values that PostgreSQL reads as Python prints them; what
        is bytes once is so always. On the library's libpq connection, for a cursor takes as long as all else of an append.
        Raises psycopg's errors.
        """
        assert self.autocommit, "nobody else would end the transaction"
        with self.lock:
            try:
                return self._execute_prepared(statement, given)
            except psycopg.errors.InvalidSqlStatementName:
                # With a rollback the library lets the server forget all that is prepared.
                self._prepared_again.clear()
                return self._execute_prepared(statement, given)

    def _execute_prepared(self, statement: bytes, given: Sequence[object]) -> int:
        name, formats = self._prepared_again.get(statement) or self._prepare(statement, given)
        # A null is None here as in `exec_params`; only the signature does not say so.
        return _rows_changed(self.pgconn.exec_prepared(name, [*map(_to_text, given)], formats))  # type: ignore[list-item]

    def _prepare(self, statement: bytes, given: Sequence[object]) -> tuple[bytes, list[Format]]:
        name = b"again_%d" % len(self._prepared_again)
        _rows_changed(self.pgconn.prepare(name, statement))
        formats = [Format.BINARY if isinstance(value, bytes) else Format.TEXT for value in given]
        self._prepared_again[statement] = name, formats
        return name, formats


def _to_text(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return orjson.dumps(value)
    text = str(value)
    if "\0" in text:
        # libpq would take it for the text's end.
        raise psycopg.DataError("PostgreSQL's text cannot hold the character NUL")
    return text.encode()


def _rows_changed(result: PGresult) -> int:
    if result.status == ExecStatus.COMMAND_OK:
        return result.command_tuples or 0
    if result.error_field(DiagnosticField.SQLSTATE) is None:
        # Not the server's word: it went away.
        raise psycopg.OperationalError(result.get_error_message())
    raise psycopg.errors.error_from_result(result)


class Pool(ConnectionPool[PooledConnection]):
    """Connections to one database. Each stays as it was used last, with transactions or without: to change takes a while."""

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[PooledConnection]:
        """A connection with one transaction, which is kept when the block ends and undone when it raises."""
        with super().connection(timeout) as connection:
            if connection.autocommit:
                connection.autocommit = False
            yield connection

    @contextmanager
    def each_alone(self) -> Iterator[PooledConnection]:
        """A connection on which each statement is a transaction: one request, where BEGIN and COMMIT would make it three."""
        # The library's `connection` would commit at the end, where there is nothing to commit.
        connection = self.getconn()
        try:
            if not connection.autocommit:
                connection.autocommit = True
            yield connection
        finally:
            self.putconn(connection)


# A peer that was cut off holds its locks until PostgreSQL notices: with these within about 25 s, not hours.
KEEPALIVES_IDLE_S = 10
KEEPALIVES_INTERVAL_S = 5
KEEPALIVES_COUNT = 3
TCP_USER_TIMEOUT_MS = 20_000
CONNECT_TIMEOUT_S = 5

# Long enough for any transaction of ours to end, short enough that a held head row is answered, not waited for.
LOCK_TIMEOUT_MS = 1_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
STATEMENT_TIMEOUT_MS = 15_000

SESSION_LIMITS = {
    "lock_timeout": LOCK_TIMEOUT_MS,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
    "statement_timeout": STATEMENT_TIMEOUT_MS,
}

# How long a caller waits for a free connection before it is told that the service is out of reach.
POOL_WAIT_S = 5.0
# The pool doubles its pause between tries to connect for this long and then gives up, until somebody asks again.
# With the library's 5 minutes a server that is back after a minute would not be asked for another one.
RECONNECT_S = 4.0


def with_limits(url: str, application_name: str) -> str:
    """`url` as a connection string with keepalives and time-outs; what the URL itself says wins."""
    limits = " ".join(f"-c {name}={value_ms}" for name, value_ms in SESSION_LIMITS.items())
    given = conninfo_to_dict(url)
    ours: dict[str, Any] = {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives": 1,
        "keepalives_idle": KEEPALIVES_IDLE_S,
        "keepalives_interval": KEEPALIVES_INTERVAL_S,
        "keepalives_count": KEEPALIVES_COUNT,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
    }
    # Later settings in `options` win, so what the URL asks for stands behind ours.
    options = f"{limits} {given.pop('options', None) or ''}".strip()
    return make_conninfo("", **{**ours, **given, "options": options})


@dataclass(frozen=True, slots=True)
class PoolSize:
    """Bounds of a pool."""

    min: int = 1
    max: int = 8


def open_pool(url: str, name: str, size: PoolSize | None = None) -> Pool:
    """A pool that connects in the background: it opens also while the server is away; close it when done."""
    size = size or PoolSize()
    pool = Pool(
        with_limits(url, name),
        connection_class=PooledConnection,
        min_size=size.min,
        max_size=size.max,
        timeout=POOL_WAIT_S,
        reconnect_timeout=RECONNECT_S,
        name=name,
        configure=_configure,
        check=_check,
        open=False,
    )
    pool.open(wait=False)
    return pool


def _configure(connection: Connection) -> None:
    """Snapshots and answers are read and written at each command; the standard library's JSON takes several times as long."""
    set_json_dumps(orjson.dumps, connection)
    set_json_loads(orjson.loads, connection)


def _check(connection: Connection) -> None:
    """Asks the server whether a connection still works, if its socket has something to tell.

    A server that ended, or ended the session, closes it; one that is well says nothing unasked. A peer that was cut off
    cannot be told by asking either: the question would wait as long as the statement. So an idle connection is taken
    without a round trip.
    """
    socket = select.poll()
    socket.register(connection.fileno(), select.POLLIN)
    if socket.poll(0):
        ConnectionPool.check_connection(connection)
