"""One command in a savepoint: done, busy, or set aside as a dead letter in the outbox of the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import psycopg
import structlog

from connectors.commands.database import BUSY, is_away
from connectors.commands.handler import CommandHandler, Connection
from connectors.consuming import Record
from schemas.codec import Codec
from schemas.envelope import now
from schemas.errors import Conflict, Undecodable
from schemas.letters import Place, SetAside, dead_letter
from schemas.outbox import COLUMNS, from_message
from schemas.records import decode_record
from schemas.topics import DEAD_LETTERS

log = structlog.get_logger(__name__)

CONFLICT_TRIES_MAX = 5

_INSERT_LETTER = (
    f"insert into outbox ({', '.join(COLUMNS)}) values ({', '.join(['%s'] * len(COLUMNS))}) on conflict (id) do nothing"
)


class Outcome(Enum):
    """What came of a command."""

    DONE = "done"
    PARKED = "parked"
    DEAD_LETTERED = "dead_lettered"


@dataclass(frozen=True, slots=True)
class Attempted:
    """An outcome and why."""

    outcome: Outcome
    reason: str = ""


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
            return self._set_aside(connection, record, error)
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
                return self._set_aside(connection, record, error)
            return Attempted(Outcome.DONE)
        return Attempted(Outcome.PARKED, Conflict.__name__)

    def _set_aside(self, connection: Connection, record: Record, error: Exception) -> Attempted:
        place = Place(record.topic, record.partition, record.offset)
        aside = SetAside(place, record.key, record.value, record.headers)
        letter = dead_letter(f"sink-{self.service}", aside, error, now())
        row = from_message(DEAD_LETTERS, letter, self.codec)
        connection.execute(_INSERT_LETTER, [getattr(row, column) for column in COLUMNS])
        log.warning(
            "set aside",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            error=type(error).__name__,
        )
        return Attempted(Outcome.DEAD_LETTERED, type(error).__name__)
