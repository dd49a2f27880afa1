"""The sink's connection to a service's database, with every wait bounded, and which errors say that it is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from connectors.commands.handler import Connection

CONNECT_TIMEOUT_S = 5
# A peer that was cut off is noticed on either side within about 20 s; without these it is hours.
KEEPALIVES_IDLE_S = 5
KEEPALIVES_INTERVAL_S = 3
KEEPALIVES_COUNT = 3
TCP_USER_TIMEOUT_MS = 15_000
# A stopped process in the middle of its batch holds the position row: its successor waits no longer than this.
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
STATEMENT_TIMEOUT_MS = 15_000

# Connection, resources, operator's act, system error: nothing is wrong with the command.
_AWAY_CLASSES = ("08", "53", "57", "58")
_AWAY_STATES = (
    "25006",  # read only: this server is no longer the primary
    "42501",  # a right that nobody granted
    "42P01",  # a table that no migration has made yet
)
# The key is in use by somebody else: a lock, a prepared transaction, a deadlock that we lost.
BUSY = (errors.LockNotAvailable, errors.QueryCanceled, errors.DeadlockDetected, errors.SerializationFailure)


class Away(Exception):
    """The database cannot be used now; connect and try again. Nothing of the batch was kept, or all of it."""


def connect(url: str, name: str, lock_timeout_ms: int) -> Connection:
    """A connection in autocommit; transactions are opened by name. Raises Away."""
    settings = {
        "lock_timeout": lock_timeout_ms,
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
        "tcp_keepalives_idle": KEEPALIVES_IDLE_S,
        "tcp_keepalives_interval": KEEPALIVES_INTERVAL_S,
        "tcp_keepalives_count": KEEPALIVES_COUNT,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
    }
    given = conninfo_to_dict(url)
    ours = " ".join(f"-c {setting}={value}" for setting, value in settings.items())
    # Later options win: what the URL asks for stands behind ours.
    given["options"] = f"{ours} {given.get('options') or ''}".strip()
    conninfo = make_conninfo(
        "",
        **{
            "application_name": name,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "keepalives": 1,
            "keepalives_idle": KEEPALIVES_IDLE_S,
            "keepalives_interval": KEEPALIVES_INTERVAL_S,
            "keepalives_count": KEEPALIVES_COUNT,
            "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
            **given,
        },
    )
    try:
        return psycopg.connect(conninfo, autocommit=True)
    except psycopg.OperationalError as error:
        raise Away(_one_line(error)) from None


def is_away(error: psycopg.Error, connection: Connection) -> bool:
    """Whether the whole batch must wait for the database, rather than one command be set aside."""
    if connection.closed or isinstance(error, psycopg.InterfaceError):
        return True
    state = error.sqlstate or ""
    return (state[:2] in _AWAY_CLASSES and not isinstance(error, BUSY)) or state in _AWAY_STATES


@contextmanager
def batch_transaction(connection: Connection) -> Iterator[None]:
    """One transaction of the sink. Raises Away; also when the position row itself is locked by another owner."""
    try:
        with connection.transaction():
            yield
    except psycopg.Error as error:
        if is_away(error, connection) or isinstance(error, BUSY):
            raise Away(_one_line(error)) from None
        raise


def _one_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__
