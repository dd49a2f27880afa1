"""One command in a savepoint: done, busy, or dead: then it is to be set aside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import psycopg
import structlog

from connectors.commands.database import BUSY, is_away
from connectors.commands.handler import CommandHandler, Connection
from connectors.consuming import Record
from schemas.codec import Codec
from schemas.errors import Conflict, Undecodable
from schemas.records import decode_record

log = structlog.get_logger(__name__)

CONFLICT_TRIES_MAX = 5


class Outcome(Enum):
    """What came of a command."""

    DONE = "done"
    PARKED = "parked"
    DEAD_LETTERED = "dead_lettered"


@dataclass(frozen=True, slots=True)
class Attempted:
    """An outcome and why; `alone`: nothing can depend on what cannot be read."""

    outcome: Outcome
    reason: str = ""
    error: Exception | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Attempts:
    """Works commands of one service."""

    service: str
    handler: CommandHandler
    codec: Codec

    def work(self, connection: Connection, record: Record) -> Attempted:
        """One command, inside the batch's transaction. Raises psycopg.Error only when the database is away."""
        try:
            command = decode_record(record.headers, record.value, self.codec)
        except Undecodable as error:
            return _dead(record, error, alone=True)
        for _ in range(CONFLICT_TRIES_MAX):
            try:
                with connection.transaction():
                    self.handler.handle(connection, command)
            except Conflict:
                continue
            except BUSY as error:
                return Attempted(Outcome.PARKED, type(error).__name__)
            except Exception as error:
                # Here poison ends: whatever a handler makes of this command must not stop the commands behind it.
                if isinstance(error, psycopg.Error) and is_away(error, connection):
                    raise
                return _dead(record, error)
            return Attempted(Outcome.DONE)
        return Attempted(Outcome.PARKED, Conflict.__name__)


def _dead(record: Record, error: Exception, *, alone: bool = False) -> Attempted:
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    log.warning("set aside", **place, error=type(error).__name__)
    return Attempted(Outcome.DEAD_LETTERED, type(error).__name__, error, alone)
