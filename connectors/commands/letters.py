"""Dead letters of a sink, through the outbox of the transaction in which a command is set aside, or is not any more."""

from __future__ import annotations

from dataclasses import dataclass, replace

from connectors.commands import parked
from connectors.commands.handler import Connection
from connectors.commands.parked import Line, Parked
from connectors.consuming import Record
from schemas.codec import Codec
from schemas.envelope import Message, derive_id, now
from schemas.keys import SEPARATOR
from schemas.letters import WAITING, Place, SetAside, Standing, WaitsBehind, dead_letter
from schemas.messages import DeadLettered, wire_type
from schemas.outbox import COLUMNS, from_message
from schemas.topics import DEAD_LETTERS

_INSERT = (
    f"insert into outbox ({', '.join(COLUMNS)}) values ({', '.join(['%s'] * len(COLUMNS))}) on conflict (id) do nothing"
)
_INSERT_GONE = (
    "insert into outbox (id, topic, aggregatetype, aggregateid, type, payload, source)"
    " values (%s, %s, 'dead-letters', %s, %s, null, %s) on conflict (id) do nothing"
)


@dataclass(frozen=True, slots=True)
class Letters:
    """Of one service's sink."""

    service: str
    codec: Codec

    @property
    def origin(self) -> str:
        """Whose letters they are."""
        return f"sink-{self.service}"

    def set_aside(self, connection: Connection, line: Line, command: Parked, error: Exception) -> None:
        """A parked command that its service cannot have: dead from now on, with a letter in place of an earlier one."""
        standing = Standing(self._lane(line, command.record), WAITING, command.tries, command.history)
        standing = standing.failed(error, now())
        letter = self._tell(connection, command.record, error, standing)
        after = replace(command, letter=letter, tries=standing.attempts, history=standing.history)
        parked.bury(connection, after, type(error).__name__)

    def put_behind(self, connection: Connection, line: Line, record: Record) -> None:
        """A parked command that depends on a dead one."""
        letter = self._tell(connection, record, WaitsBehind(), Standing(self._lane(line, record), WAITING))
        parked.name_letter(connection, record, letter)

    def forget(self, connection: Connection, letter: str) -> None:
        """Takes a letter away: a record without value, as the topic is compacted."""
        values = [derive_id(letter, "gone"), DEAD_LETTERS, letter, wire_type(DeadLettered), f"/tally/{self.origin}"]
        connection.execute(_INSERT_GONE, values)

    def send(self, connection: Connection, topic: str, message: Message) -> None:
        """Any message, through the outbox."""
        row = from_message(topic, message, self.codec)
        connection.execute(_INSERT, [getattr(row, column) for column in COLUMNS])

    def _tell(self, connection: Connection, record: Record, error: Exception, standing: Standing) -> str:
        aside = SetAside(Place(record.topic, record.partition, record.offset), record.key, record.value, record.headers)
        letter = dead_letter(self.origin, aside, error, now(), standing)
        # The record's key is the letter's; the row and the message have an id for each time that it is told.
        id_ = derive_id(letter.envelope.id, standing.state, standing.attempts)
        self.send(connection, DEAD_LETTERS, Message(replace(letter.envelope, id=id_), letter.body))
        return letter.envelope.id

    def _lane(self, line: Line, record: Record) -> str:
        partition, key, alone = line
        text = "" if key is None else key.decode(errors="backslashreplace")
        depends_on = text if alone is None else f"{record.topic}/{partition}/{alone}"
        return f"{self.origin}{SEPARATOR}{depends_on}"
