"""What a replay would do, worked out and checked before anything is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from confluent_kafka.admin import AdminClient

from schemas.codec import Codec
from schemas.envelope import Message
from schemas.errors import Undecodable
from tally.reading.reader import Reader
from tally.replaying.asked import EVERYTHING, ID, Bounds, Range, fix
from tally.replaying.choosing import Choice
from tally.replaying.errors import WrongReplay
from tally.replaying.files import check_new_file
from tally.replaying.standing import FAULTS_MAX
from tally.replaying.targets import Into, Kind
from tally.replaying.topics import check_keeps, check_topic, find_topic, oldest_timestamp_ms, topic_ids

RATE_MAX = 1_000_000.0
# Every so many records the one who waits hears of it.
_SAY_EVERY = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A replay as somebody asks for it.

    `rate` is in records a second; `side_effects` names the topic of the live system that it is to go into; `id` and
    `reason` are free, an id is drawn where none is given.
    """

    topics: tuple[str, ...]
    into: Into
    bounds: Bounds = EVERYTHING
    rate: float | None = None
    id: str = ""
    side_effects: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked, with its bounds as offsets; `makes_partitions` is set where the target topic is to be made.

    `topic_ids` are Kafka's own of the sources.
    """

    asked: Asked
    ranges: tuple[Range, ...]
    topic_ids: dict[str, str]
    makes_partitions: int | None = None


@dataclass(slots=True)
class Counted:
    """What the ranges hold: `read` records, and those of them that are meant, by topic and type."""

    read: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def meant(self) -> int:
        """How many records would be replayed."""
        return sum(self.counts.values())


Take = Callable[[str, Message], None]
Heard = Callable[[Counted], None]


def plan(reader: Reader, admin: AdminClient, asked: Asked, now: datetime) -> Plan:
    """Checks everything that can be wrong. Raises WrongReplay; UnknownTopic, Unreachable of the reader."""
    if asked.id and ID.fullmatch(asked.id) is None:
        raise WrongReplay(f"--id {asked.id}: 1 to 64 letters, digits, dots, dashes and underscores")
    check_rate(asked.rate)
    fixed, bounds = fix(reader, asked.topics, asked.bounds, now)
    sources = topic_ids(admin, {each.topic for each in fixed})
    asked = replace(asked, bounds=bounds)
    if asked.into.kind is Kind.FILE:
        check_new_file(Path(asked.into.name))
    if asked.into.kind is not Kind.TOPIC:
        if asked.side_effects:
            raise WrongReplay(f"--side-effects {asked.side_effects[0]}: a replay into {asked.into} has none")
        return Plan(asked, fixed, sources)
    name = asked.into.name
    check_topic(name, set(sources), asked.bounds.types, asked.side_effects)
    if find_topic(admin, name) is None:
        return Plan(asked, fixed, sources, makes_partitions=len(reader.partitions(fixed[0].topic)))
    check_keeps(admin, name, oldest_timestamp_ms(reader, fixed))
    return Plan(asked, fixed, sources)


def check_rate(rate: float | None) -> None:
    """Raises WrongReplay."""
    if rate is not None and not 1 <= rate <= RATE_MAX:
        raise WrongReplay(f"--rate {rate:g}: from 1 to {RATE_MAX:.0f} records a second")


def count(reader: Reader, planned: Plan, codec: Codec, take: Take, say: Heard) -> Counted:
    """Reads the ranges and counts. Raises Unreachable."""
    counted, choice = Counted(), Choice(planned.asked.bounds, codec)
    starts = {each.place: each.start for each in planned.ranges}
    ends = {each.place: each.end for each in planned.ranges}
    records_max, meant = planned.asked.bounds.records_max, 0
    for record in reader.read(starts, ends):
        if record is None:
            continue
        counted.read += 1
        if counted.read % _SAY_EVERY == 0:
            say(counted)
        try:
            message = choice.choose(record)
        except Undecodable as error:
            counted.unreadable += 1
            if counted.unreadable <= FAULTS_MAX:
                counted.faults.append(f"{record.topic}/{record.partition}/{record.offset}: {error.reason}")
            continue
        if message is not None:
            counted.counts[record.topic, message.envelope.type] += 1
            take(record.topic, message)
            meant += 1
            if meant == records_max:
                break
    return counted
