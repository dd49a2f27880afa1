"""The database session of a polling process: its seat, and what it sees of others.

A seat is a number that the server gives to one session at a time (an advisory lock): the process publishes under the
seat's transactional id, so that whoever comes next on that seat fences it and settles what it left open in Kafka.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from psycopg import sql

from connectors.outbox.config import OutboxConfig
from connectors.outbox.database import connect
from connectors.outbox.errors import StartRefused
from connectors.outbox.polling.statements import seat_lock

_log = structlog.get_logger()

# Processes of one name side by side; more would find no free buckets anyway.
SEATS_MAX = 32
# Its server needs a moment to notice that the session before this one has ended.
_OLD_SEAT_WITHIN_S = 2.0
_LOOK_AGAIN_S = 0.02

_TAKE_SEAT = "select seat from unnest(%s::int[]) seat where pg_try_advisory_lock(hashtext(%s), seat) limit 1"
_SELF = "select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()"
_END_OLD = "select pg_terminate_backend(pid) from pg_stat_activity where pid = %s and backend_start = %s"
# Plans must not depend on statistics that a queue's table never has right: every query here has an index.
# A session whose process or network is gone must let go of its rows.
_SETTINGS = (
    "set enable_seqscan = off",
    "set lock_timeout = '5s'",
    "set tcp_keepalives_idle = 10",
    "set tcp_keepalives_interval = 5",
    "set tcp_keepalives_count = 3",
)


def seat_config(config: OutboxConfig, seat: int) -> OutboxConfig:
    """The options under the seat's own name: a transactional id, and a topic for the last batch."""
    return replace(config, name=f"{config.name}-{seat}")


@dataclass(frozen=True, slots=True)
class SeatTaken:
    """A session that was: its seat, and by what the server knows it."""

    seat: int
    pid: int
    began_at: datetime


class Session:
    """One connection that holds a seat for as long as it lives."""

    def __init__(self, config: OutboxConfig, before: SeatTaken | None, stop: threading.Event) -> None:
        """Takes the seat of the session before, else the lowest that is free. Raises psycopg.Error, StartRefused."""
        self._lock_name = seat_lock(config.name)
        self.connection = connect(config)
        try:
            for statement in _SETTINGS:
                self.connection.execute(statement)
            self.connection.execute(
                sql.SQL("set idle_in_transaction_session_timeout = {}").format(
                    sql.Literal(config.transaction_timeout_ms)
                )
            )
            seat = None if before is None else self._again(before, stop)
            seat = self.take_seat(*range(SEATS_MAX)) if seat is None else seat
            if seat is None:
                raise StartRefused(f"{SEATS_MAX} processes poll as {config.name} already")
            (pid, began_at) = self.connection.execute(_SELF).fetchone() or (0, datetime.min)
            self.taken = SeatTaken(seat, pid, began_at)
        except BaseException:
            self.connection.close()
            raise

    @property
    def seat(self) -> int:
        """From 0."""
        return self.taken.seat

    def take_seat(self, *seats: int) -> int | None:
        """The first of them that is free; held until `leave_seat` or the session's end."""
        found = self.connection.execute(_TAKE_SEAT, (list(seats), self._lock_name)).fetchone()
        return None if found is None else int(found[0])

    def leave_seat(self, seat: int) -> None:
        """Lets go of a seat beside the session's own."""
        self.connection.execute("select pg_advisory_unlock(hashtext(%s), %s)", (self._lock_name, seat))

    def close(self) -> None:
        """Ends the session, and rolls back what is open in it."""
        self.connection.close()

    def _again(self, before: SeatTaken, stop: threading.Event) -> int | None:
        """This process let the session before go; if the server has not noticed, it is told: rows hang on it."""
        if self.connection.execute(_END_OLD, (before.pid, before.began_at)).fetchone() is not None:
            _log.warning("ended this process' own lost session", pid=before.pid)
        deadline = time.monotonic() + _OLD_SEAT_WITHIN_S
        while (seat := self.take_seat(before.seat)) is None and time.monotonic() < deadline:
            if stop.wait(_LOOK_AGAIN_S):
                break
        return seat
