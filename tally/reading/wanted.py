"""Records that somebody asks for: of some topics, from anywhere to anywhere, of one key or all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.partitioning import partition_of
from schemas.topics import APP_ID
from tally.reading.places import Span
from tally.reading.reader import Partition, Reader, Record, UnknownTopic, answered


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records of the topics are meant."""

    topics: tuple[str, ...]
    span: Span
    key: str | None = None
    partition: int | None = None
    group: str = APP_ID


def records(reader: Reader, wanted: Wanted, stop: bool, read: Counter[Partition] | None = None) -> Iterator[Record]:
    """The records that are wanted; with `stop`, or where the span has an end, no further than the present end.

    `read` counts all that were looked at, by partition. Raises UnknownTopic, also for an unknown partition, and Unreachable.
    """
    starts: dict[Partition, int] = {}
    ends: dict[Partition, int] = {}
    for place in _places(reader, wanted):
        start, end = reader.resolve(wanted.span, place, wanted.group)
        starts[place] = start
        ends[place] = reader.bounds(place)[1] if end is None else end
    read = Counter() if read is None else read
    read.update(dict.fromkeys(starts, 0))
    bounded = stop or wanted.span.end is not None
    key = None if wanted.key is None else wanted.key.encode()
    found = answered(reader.read(starts, ends)) if bounded else filter(None, reader.read(starts, None))
    for record in found:
        read[record.topic, record.partition] += 1
        if key is None or record.key == key:
            yield record


def _places(reader: Reader, wanted: Wanted) -> list[Partition]:
    places = []
    for topic in wanted.topics:
        numbers = reader.partitions(topic)
        if wanted.key is not None:
            numbers = [partition_of(wanted.key.encode(), len(numbers))]
        if wanted.partition is not None:
            if wanted.partition not in reader.partitions(topic):
                raise UnknownTopic(f"{topic} has no partition {wanted.partition}")
            numbers = [wanted.partition]
        places += [(topic, number) for number in numbers]
    return places
