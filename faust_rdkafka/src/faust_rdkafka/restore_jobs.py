"""What a changelog partition is restored into: rows in memory at once at the end, a database batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from confluent_kafka import OFFSET_BEGINNING

from .stores.database import Database
from .stores.note import NO_TOPIC, UNCOUNTED, now_ms
from .table import Table
from .table_partition import TablePartition

# Whether a key is new is looked up for so many records of a tail; after more, all rows are counted once.
_LOOKED_UP_MAX = 50_000

DEFAULT_DELETE_RETENTION_MS = 86_400_000  # Kafka's

Pairs = dict[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Changelog:
    """What the broker says of a changelog topic."""

    topic_id: bytes = NO_TOPIC
    delete_retention_ms: int = DEFAULT_DELETE_RETENTION_MS


@dataclass
class Job:
    """One changelog partition to read: from behind the last offset known to the end at the start."""

    table: Table
    into: TablePartition
    end: int = 0
    last: int = -1
    read: Pairs = field(default_factory=dict)  # not yet taken over; the last value of each key

    @property
    def place(self) -> tuple[str, int]:
        return self.table.changelog_topic_name, self.into.number

    @property
    def start(self) -> int:
        known = self.into.changelog_offset
        return known + 1 if known >= 0 else OFFSET_BEGINNING

    def begin(self, end: int, changelog: Changelog) -> None:
        """`end` was the high watermark a moment ago. A store that cannot be trusted is wiped."""
        self.end = end
        self._asked_ms = now_ms()

    def take_over(self) -> None:
        """A bounded piece was read."""

    def finish(self) -> None:
        keys, values = self.table.key_codec.loads, self.table.value_codec.loads
        self.into.fill({keys(k): None if v is None else values(v) for k, v in self.read.items()}, self.last)
        self.read.clear()


@dataclass
class DatabaseJob(Job):
    """The same into a database, as bytes; a crash on the way leaves what was read so far, and its offset."""

    @property
    def _database(self) -> Database:
        database = self.into.database
        assert database is not None
        return database

    def begin(self, end: int, changelog: Changelog) -> None:
        super().begin(end, changelog)
        database = self._database
        why = database.note.why_not_to_trust(end, changelog.topic_id, changelog.delete_retention_ms, self._asked_ms)
        if why is not None:
            database.wipe(why)
            self.into.changelog_offset = -1
        note = replace(database.note, topic_id=changelog.topic_id)
        if note.offset < 0:
            # A first reading that is broken off may go on from there for as long as its tombstones last.
            note = replace(note, caught_up_ms=self._asked_ms)
        if note.offset < 0 or end - note.offset > _LOOKED_UP_MAX:
            note = replace(note, rows=UNCOUNTED)
        database.note = note

    def take_over(self) -> None:
        if self.read:
            note = self._database.note
            rows = note.rows if note.rows == UNCOUNTED else note.rows + self._added()
            self._database.write(self.read.items(), replace(note, offset=max(self.last, note.offset), rows=rows))
            self.read.clear()

    def finish(self) -> None:
        self.take_over()
        database = self._database
        rows = database.count() if database.note.rows == UNCOUNTED else database.note.rows
        database.write((), replace(database.note, rows=rows, caught_up_ms=self._asked_ms))
        self.into.changelog_offset = database.note.offset
        self.into.rows.forget()

    def _added(self) -> int:
        get = self._database.get
        return sum((value is not None) - (get(key) is not None) for key, value in self.read.items())
