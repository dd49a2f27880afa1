"""How a replay stands: one row a replay, as JSON in a compacted topic; the position is in it, so a row is the truth.

The row is written in the same Kafka transaction as the records that it accounts for. Reading a row before going on
waits until no transaction is open at its place: else an older row would be taken for the last one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.partitioning import partition_of
from schemas.topics import REPLAYS
from tally.reading.reader import REQUEST_TIMEOUT_S, Partition, Reader, UnknownTopic, Unreachable, whole
from tally.reading.watermarks import watermarks
from tally.replaying.asked import Bounds, Range
from tally.replaying.errors import CannotGoOn

# A process that replays gives a sign at least this often; without one for three times as long it is taken for lost.
SIGN_EVERY_S = 5.0
LOST_AFTER_S = 3 * SIGN_EVERY_S
# What could not be replayed is named up to here; beyond it only the number grows.
FAULTS_MAX = 100
# Keys of wishes; an id holds no stroke.
WISH = "/wish"


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody does to a replay, `name` START, RESUME, PAUSE or FORGET; a PAUSE is wished of its process."""

    name: str
    by: str
    reason: str

    def to_json(self) -> bytes:
        """The value of a wish."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, value: bytes) -> Act:
        """The reverse. Raises ValueError, TypeError for what is no act."""
        return cls(**json.loads(value))


class State(StrEnum):
    """RUNNING also stands in the row of a process that was killed; `shown` tells them apart."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    FAILED = "FAILED"
    DONE = "DONE"


@dataclass(frozen=True, slots=True)
class Replay:
    """What is replayed, fixed at its start; `into` as typed, a file by its whole path; `rate` in records a second.

    `topic_ids` are Kafka's own, by topic: offsets mean nothing in a topic that was made anew under the same name.
    """

    id: str
    ranges: tuple[Range, ...]
    bounds: Bounds
    into: str
    rate: float | None = None
    reason: str = ""
    by: str = ""
    created_at: str = ""
    topic_ids: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Progress:
    """How far it came; `positions` are the offsets to go on at, `length` the bytes of a file that are durable."""

    positions: dict[Partition, int]
    read: int = 0
    written: int = 0
    unreadable: int = 0
    by_type: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    length: int = 0
    active_s: float = 0.0
    records_per_second: float = 0.0

    def fault(self, line: str) -> None:
        """Notes a record that could not be replayed."""
        self.unreadable += 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(line)


@dataclass(frozen=True, slots=True)
class Standing:
    """A row; `at_ms` (Unix milliseconds) is the last sign of the process, `note` why it stands as it does."""

    replay: Replay
    state: State
    progress: Progress
    at_ms: int
    note: str = ""

    @property
    def left(self) -> int:
        """Offsets between the positions and the ends: the lag of the replay."""
        return sum(each.end - self.progress.positions[each.place] for each in self.replay.ranges)

    def to_json(self) -> bytes:
        """The row's value."""
        document = asdict(self)
        document["replay"]["ranges"] = [[r.topic, r.partition, r.start, r.end] for r in self.replay.ranges]
        positions = [[topic, number, offset] for (topic, number), offset in self.progress.positions.items()]
        document["progress"]["positions"] = positions
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, value: bytes) -> Standing:
        """The reverse of `to_json`."""
        document = json.loads(value)
        given, progress = document["replay"], document["progress"]
        bounds: dict[str, Any] = {
            name: tuple(each) if isinstance(each, list) else each for name, each in given["bounds"].items()
        }
        given |= {"ranges": tuple(Range(*each) for each in given["ranges"]), "bounds": Bounds(**bounds)}
        progress["positions"] = {(topic, number): offset for topic, number, offset in progress["positions"]}
        state = State(document["state"])
        return cls(Replay(**given), state, Progress(**progress), document["at_ms"], document["note"])

    def shown(self, now_ms: int) -> dict[str, Any]:
        """The row as people see it; LOST is a process that gives no sign any more."""
        progress, silent_s = self.progress, (now_ms - self.at_ms) / 1_000
        lost = self.state is State.RUNNING and silent_s > LOST_AFTER_S
        total = sum(each.end - each.start for each in self.replay.ranges)
        rate = progress.records_per_second if self.state is State.RUNNING and not lost else None
        return {
            "id": self.replay.id,
            "state": "LOST" if lost else str(self.state),
            "into": self.replay.into,
            "done_percent": 100.0 if total == 0 else round(100 * (total - self.left) / total, 1),
            "left": self.left,
            "read": progress.read,
            "written": progress.written,
            "unreadable": progress.unreadable,
            "records_per_second": rate,
            "created_at": self.replay.created_at,
            "note": f"no sign for {silent_s:.0f} s; tally replay run --resume {self.replay.id}" if lost else self.note,
        }

    def in_full(self, now_ms: int) -> dict[str, Any]:
        """`shown`, with what was asked, each partition's offsets, and what could not be read."""
        replay, progress = self.replay, self.progress
        asked = {name: value for name, value in asdict(replay.bounds).items() if value not in (None, ())}
        return {
            **self.shown(now_ms),
            "by": replay.by,
            "reason": replay.reason,
            "rate": replay.rate,
            "active_s": progress.active_s,
            "bounds": asked,
            "ranges": [
                {**asdict(each), "position": self.progress.positions[each.place]} for each in self.replay.ranges
            ],
            "by_type": progress.by_type,
            "faults": progress.faults,
        }


def standings(reader: Reader) -> dict[str, Standing]:
    """Every replay by id. Raises Unreachable, CannotGoOn."""
    last: dict[str, bytes | None] = {}
    try:
        starts, ends = whole(reader, (REPLAYS,))
    except UnknownTopic:
        return {}
    for record in reader.read(starts, ends):
        if record is not None and record.key is not None and not record.key.endswith(WISH.encode()):
            last[record.key.decode()] = record.value
    return {id_: _row(id_, value) for id_, value in last.items() if value is not None}


def place_of(reader: Reader, key: str) -> Partition:
    """The partition of a key of the topic."""
    return REPLAYS, partition_of(key.encode(), len(reader.partitions(REPLAYS)))


def is_settled(reader: Reader, bootstrap: str, id_: str) -> bool:
    """Whether a committed reader sees everything that was written at the place of `id_` until now."""
    place = place_of(reader, id_)
    return reader.bounds(place)[1] >= newest_offset(bootstrap, place)


def newest_offset(bootstrap: str, place: Partition) -> int:
    """The end of a partition, what is not committed yet included."""
    consumer = _uncommitted(bootstrap)
    try:
        return _end(consumer, bootstrap, place)
    finally:
        consumer.close()


class Wishes:
    """Listens for what others wish of one replay, from now on."""

    def __init__(self, reader: Reader, bootstrap: str, id_: str) -> None:
        self._key = f"{id_}{WISH}".encode()
        place = place_of(reader, f"{id_}{WISH}")
        self._consumer = _uncommitted(bootstrap)
        self._consumer.assign([TopicPartition(*place, _end(self._consumer, bootstrap, place))])

    def pause(self) -> Act | None:
        """The wish for a pause that came since the last look."""
        wished = None
        while (record := self._consumer.poll(0)) is not None:
            if record.error() is None and record.key() == self._key:
                # Bytes of somebody else's making end no replay; who wished with them hears that it did not pause.
                with suppress(ValueError, TypeError):
                    wished = Act.from_json(record.value() or b"")
        return wished

    def close(self) -> None:
        """Gives the connection back."""
        self._consumer.close()


Wished = Callable[[], Act | None]


def _uncommitted(bootstrap: str) -> Consumer:
    # Wishes are written outside of transactions: they are heard while a replay's own transaction is open.
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "tally-replays",
            "enable.auto.commit": False,
            "isolation.level": "read_uncommitted",
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": 100,
            "log_level": 0,
        }
    )


def _end(consumer: Consumer, bootstrap: str, place: Partition) -> int:
    try:
        return watermarks(consumer, place, REQUEST_TIMEOUT_S)[1]
    except KafkaException as error:
        raise Unreachable(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}") from None


def _row(id_: str, value: bytes) -> Standing:
    try:
        return Standing.from_json(value)
    except (ValueError, LookupError, TypeError) as error:
        raise CannotGoOn(f"the row of replay {id_} on {REPLAYS} cannot be read: {error}") from None
