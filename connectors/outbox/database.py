"""What the connector asks of PostgreSQL beside the stream: connections, the slot, and that a predecessor lets go."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
import structlog
from psycopg.conninfo import make_conninfo

from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import BadOption, DatabaseLost, SlotActive, Stopped, WalLevelTooLow
from connectors.outbox.positions import parse_position

_log = structlog.get_logger()

# A walsender whose client was killed ends by itself within this; only then is it ended by hand.
_PATIENCE_S = 1.0
_LOOK_AGAIN_S = 0.02
_MESSAGES_SINCE = 140_000
_TAKEOVER_SLACK_S = 5.0
# A broken network must not look like a quiet one for ever.
# (Keepalives are not sent while something that was sent is not acknowledged: then `tcp_user_timeout` counts, in ms.)
_LINK = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}

# Values are read as text, so the texts must not depend on the server's settings.
_TEXT_FORMS = (
    "-c timezone=UTC -c datestyle=ISO -c bytea_output=hex -c extra_float_digits=1 -c intervalstyle=postgres "
    "-c lc_monetary=C"
)


def connect(
    config: OutboxConfig, replication: bool = False, answer_within_s: float | None = None
) -> psycopg.Connection:
    """An autocommit connection; with `replication` one that can stream. Raises psycopg.OperationalError.

    `answer_within_s` bounds every statement; one that lasts longer raises psycopg.errors.QueryCanceled.
    """
    bound = "" if answer_within_s is None else f" -c statement_timeout={answer_within_s}s"
    parameters = {
        **_LINK,
        "options": _TEXT_FORMS + bound,
        "client_encoding": "utf8",
        "application_name": f"tally-outbox-{config.name}",
    }
    if replication:
        parameters["replication"] = "database"
    return psycopg.connect(make_conninfo(config.source_url, **parameters), autocommit=True)


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot as the server shows it.

    `lost` is the reason why it cannot be read any more, `unfit` the reason why it is none of this connector's.
    """

    confirmed: int
    active_pid: int | None
    plugin: str
    lost: str | None
    unfit: str | None = None


def demand_logical(connection: psycopg.Connection) -> None:
    """Raises WalLevelTooLow."""
    level = _one(connection, "select current_setting('wal_level')")[0]
    if level != "logical":
        raise WalLevelTooLow(str(level))


def demand_messages(connection: psycopg.Connection) -> None:
    """Raises BadOption where the stream has no logical messages."""
    if connection.info.server_version < _MESSAGES_SINCE:
        raise BadOption("logical messages need PostgreSQL 14 or newer")


def find_slot(connection: psycopg.Connection, name: str) -> Slot | None:
    """The slot, or None."""
    invalidation: LiteralString = "invalidation_reason" if connection.info.server_version >= 170000 else "null"
    query: LiteralString = (
        "select confirmed_flush_lsn::text, active_pid, plugin::text, wal_status, database, current_database(), "
        + invalidation
        + " from pg_replication_slots where slot_name = %s"
    )
    found = connection.execute(query, (name,)).fetchone()
    if found is None:
        return None
    confirmed, active_pid, plugin, wal_status, database, here, reason = found
    lost = reason or ("wal_status is lost" if wal_status == "lost" else None)
    unfit = None
    if plugin != "pgoutput":
        unfit = f"its plugin is {plugin or 'none (it is physical)'}"
    elif database != here:
        unfit = f"it is of the database {database}"
    return Slot(parse_position(confirmed) if confirmed else 0, active_pid, plugin, lost, unfit)


def wait_until_free(
    connection: psycopg.Connection, config: OutboxConfig, stop: Callable[[], bool], may_end: bool
) -> None:
    """Waits until nobody reads the slot; with `may_end` ends the predecessor's walsender if it does not go by itself.

    That is right once the predecessor is fenced: then its walsender does nothing that we need. Raises SlotActive, Stopped.
    """
    timeout_s = float(
        _one(connection, "select setting::float8 / 1000 from pg_settings where name = 'wal_sender_timeout'")[0]
    )
    wait_s = config.takeover_wait_s if config.takeover_wait_s is not None else timeout_s + _TAKEOVER_SLACK_S
    began, asked = time.monotonic(), False
    while (slot := find_slot(connection, config.slot)) is not None and slot.active_pid is not None:
        waited_s = time.monotonic() - began
        if waited_s > wait_s:
            raise SlotActive(config.slot, slot.active_pid)
        if waited_s > min(_PATIENCE_S, wait_s / 2) and may_end and not asked:
            asked = True
            _end_walsender(connection, slot.active_pid, wait_s)
        if stop():
            raise Stopped("asked to end while the slot was held")
        time.sleep(_LOOK_AGAIN_S)


def _end_walsender(connection: psycopg.Connection, pid: int, wait_s: float) -> None:
    try:
        connection.execute("select pg_terminate_backend(%s)", (pid,))
        _log.warning("ended the walsender of a predecessor that does not let go of the slot", pid=pid)
    except psycopg.errors.InsufficientPrivilege:
        _log.warning(
            "a predecessor holds the slot, and we may not end its walsender (pg_signal_backend): waiting",
            pid=pid,
            at_most_s=wait_s,
        )


def _one(connection: psycopg.Connection, query: LiteralString, *values: object) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(query, values).fetchone()
    if row is None:
        raise DatabaseLost(f"the server does not answer {query!r}")
    return row
