"""Sets records aside in the worker: a row in the lane, a letter, and the pause of a partition whose lane is full."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from faust.types import TP

from faust_rdkafka import App, RawRecord
from schemas.codec import Codec
from schemas.envelope import Message
from schemas.letters import Place, SetAside, WaitsBehind, dead_letter
from schemas.records import encode_record
from schemas.topics import DEAD_LETTERS
from streams.letters.depending import depends_on
from streams.letters.kept import Kept, keep
from streams.letters.lanes import PAUSES_AT, Lanes, OpenLanes, head_key, lane_of, lane_of_head

log = structlog.get_logger()

TABLE = "waiting"

Letter = tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]


@dataclass(slots=True)
class Parking:
    """What the agents share; `readers` are the agents by topic, `table` is the Faust table of the lanes."""

    app: App
    table: Any
    codec: Codec
    clock: Callable[[], datetime]
    readers: dict[str, list[str]] = field(default_factory=dict)
    _full: dict[int, dict[str, list[str]]] = field(default_factory=dict)

    def lanes(self, partition: int) -> OpenLanes:
        """The lanes of a partition as the running batch sees them."""
        return OpenLanes(self.table.partition(partition))

    def set_aside(self, agent: str, record: RawRecord, message: Message | None, error: BaseException) -> None:
        """A record that its agent cannot handle; where its lane is occupied, it was not its turn and it waits."""
        lane, lanes = self._lane(agent, record, message), self.lanes(record.partition)
        kept = keep(agent, lane, record)
        if lane not in lanes:
            kept = kept.failed(error, self.clock())
            log.warning("set aside", agent=agent, topic=record.topic, offset=record.offset, error=repr(error))
        self._put(lanes, kept)
        self.tell(kept, error if kept.is_failed else WaitsBehind())

    def put_behind(self, agent: str, record: RawRecord, message: Message) -> None:
        """A record that depends on one that was set aside."""
        kept = keep(agent, self._lane(agent, record, message), record)
        self._put(self.lanes(record.partition), kept)
        self.tell(kept, WaitsBehind())

    def waits(self, agent: str, lanes: OpenLanes, topic: str, message: Message) -> bool:
        """Whether a record must wait. Ask only where there are lanes at all."""
        needed = depends_on(topic, message, None)
        return needed is not None and lane_of(agent, needed) in lanes

    def tell(self, kept: Kept, error: BaseException) -> None:
        """Sends the record's letter, in place of an earlier one."""
        letter = dead_letter(kept.origin, kept.aside, error, self.clock(), kept.standing)
        self.app.emit(DEAD_LETTERS, *encode_record(letter, self.codec))

    def forget(self, kept: Kept) -> None:
        """Takes the letter away."""
        self.app.emit(DEAD_LETTERS, kept.letter_id.encode(), None)

    def killed(self, record: RawRecord, reason: str, error: BaseException) -> Letter:
        """The transport's hook, for a record that ends the process: it is never decoded again, so it waits by its key.

        Every agent of its topic would have to handle it. Records of topics without agents of ours get a letter only.
        """
        *others, last = self.readers.get(record.topic) or [""]
        for agent in others:
            self.set_aside(agent, record, None, error)
        if not last:
            place = Place(record.topic, record.partition, record.offset)
            aside = SetAside(place, record.key, record.value, record.headers)
            cause = error if isinstance(error, Exception) else RuntimeError(f"{reason}: {error!r}")
            return DEAD_LETTERS, *encode_record(dead_letter("worker", aside, cause, self.clock()), self.codec)
        kept = keep(last, self._lane(last, record, None), record).failed(error, self.clock())
        self._put(self.lanes(record.partition), kept)
        letter = dead_letter(kept.origin, kept.aside, error, self.clock(), kept.standing)
        return DEAD_LETTERS, *encode_record(letter, self.codec)

    # -- the bound

    def committed(self, table: str, partition: int, keys: Collection[str]) -> None:
        """Called after each commit: lanes that filled up pause their partitions, lanes that emptied let them go on."""
        if table == TABLE:
            self._look(partition, [lane for key in keys if (lane := lane_of_head(key)) is not None])

    def restored(self, partitions: Iterable[int]) -> None:
        """Looks at all lanes of partitions that came."""
        for partition in partitions:
            self._full.pop(partition, None)
            self._look(partition, list(Lanes(self.table.partition(partition))))

    def dropped(self, partitions: Iterable[int]) -> None:
        """Forgets partitions that went."""
        for partition in partitions:
            self._full.pop(partition, None)

    @property
    def held(self) -> frozenset[TP]:
        """The partitions that are paused."""
        return frozenset(
            TP(topic, partition)
            for partition, full in self._full.items()
            for topics in full.values()
            for topic in topics
        )

    def _look(self, partition: int, lanes: list[str]) -> None:
        rows, full, before = self.table.partition(partition), self._full.setdefault(partition, {}), self.held
        for lane in lanes:
            head = rows.get(head_key(lane))
            if head is not None and head["count"] >= PAUSES_AT:
                full[lane] = head["topics"]
            else:
                full.pop(lane, None)
        if self.held != before:
            self.app.hold(self.held)
            for tp in self.held - before:
                log.error("paused: as much waits in a lane as may wait", topic=tp.topic, partition=tp.partition)

    def _put(self, lanes: OpenLanes, kept: Kept) -> None:
        if lanes.put(kept) >= PAUSES_AT:
            # At once: the commit that tells so comes after what is fetched meanwhile.
            self._look(kept.record.partition, [kept.standing.lane])

    def _lane(self, agent: str, record: RawRecord, message: Message | None) -> str:
        needed = depends_on(record.topic, message, record.key)
        return lane_of(agent, needed or f"{record.topic}/{record.partition}/{record.offset}")
