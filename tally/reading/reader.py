"""Reads partitions of topics from place to place, without a group: nobody's offsets move, nobody's partitions do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from tally.reading.places import Kind, Place, Span
from tally.reading.watermarks import watermarks

REQUEST_TIMEOUT_S = 10.0
# Where it is quiet for so long in the middle of what is there, Kafka has gone away.
SILENT_FOR_S = 10.0
_BATCH_RECORDS = 1_000
# librdkafka wants a group id even of a reader that joins none and commits nothing.
_NO_GROUP = "tally-reader"

Partition = tuple[str, int]
Headers = list[tuple[str, bytes | None]]


class UnknownTopic(Exception):
    """A topic or a partition that is not there."""


class Unreachable(Exception):
    """Kafka does not answer."""


class Record(NamedTuple):
    """One record as it lies in its partition; `timestamp_ms` is epoch milliseconds.

    A tuple: it is made in a third of a frozen dataclass's time, and whole topics pass through it.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Reader:
    """A reader over one cluster; a context manager. Every method raises Unreachable when Kafka does not answer."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": _NO_GROUP,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed",
                # A place that retention removed while it was read becomes the nearest one that is left.
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back."""
        self._consumer.close()

    def partitions(self, topic: str) -> list[int]:
        """Partition numbers of a topic. Raises UnknownTopic."""
        try:
            found = self._consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic]
        except KafkaException as error:
            raise Unreachable(f"Kafka at {self._bootstrap} does not answer: {error.args[0].str()}") from None
        if found.error is not None or not found.partitions:
            raise UnknownTopic(f"there is no topic {topic}")
        return sorted(found.partitions)

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """(first offset, end): a committed reader sees nothing at or after the end yet."""
        try:
            return watermarks(self._consumer, partition, REQUEST_TIMEOUT_S)
        except KafkaException as error:
            raise Unreachable(f"Kafka at {self._bootstrap} does not answer: {error.args[0].str()}") from None

    def resolve(self, span: Span, partition: Partition, group: str) -> tuple[int, int | None]:
        """Offsets (start, end) of a span in one partition; end None where the span has none."""
        low, high = self.bounds(partition)
        start = self._offset(span.start, partition, group, (low, high))
        end = None if span.end is None else min(high, self._offset(span.end, partition, group, (low, high)))
        return min(max(start, low), high), end

    def read(self, starts: dict[Partition, int], ends: dict[Partition, int] | None) -> Iterator[Record | None]:
        """Records from `starts` on, in order within a partition; None now and then while there is nothing new.

        Stops when every partition of `ends` is read up to its end; without `ends` never.
        """
        if ends is not None:
            starts = {partition: start for partition, start in starts.items() if start < ends[partition]}
        if not starts:
            return
        self._consumer.assign([TopicPartition(topic, number, start) for (topic, number), start in starts.items()])
        open_partitions = set(starts)
        while open_partitions or ends is None:
            # `consume` alone waits out its time for a full batch: a wait for the first, then what came with it.
            first = self._consumer.poll(0.2)
            if first is None:
                yield None
                continue
            for message in [first, *self._consumer.consume(_BATCH_RECORDS - 1, timeout=0)]:
                place = (message.topic(), message.partition())
                if place not in open_partitions:
                    continue
                offset, error = message.offset(), message.error()
                end = None if ends is None else ends[place]
                if error is None and (end is None or offset < end):
                    timestamp, headers = message.timestamp()[1], message.headers() or []
                    yield Record(*place, offset, timestamp, message.key(), message.value(), headers)
                elif error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise Unreachable(error.str())
                # Markers of transactions hold offsets too, so the last record may stand well before the end.
                if end is not None and offset >= (end if error is not None else end - 1):
                    open_partitions.discard(place)
                    self._consumer.incremental_unassign([TopicPartition(*place)])
        self._consumer.unassign()

    def _before_end(self, partition: Partition, wanted: int, bounds: tuple[int, int]) -> int:
        """Offset of the record that stands `wanted` records before the end.

        Markers of transactions hold offsets too, so records are counted, further back each time.
        """
        low, high = bounds
        reach = wanted
        while True:
            start = max(low, high - reach)
            found = [r.offset for r in self.read({partition: start}, {partition: high}) if r is not None]
            if len(found) >= wanted or start == low:
                return found[-wanted] if 0 < wanted <= len(found) else (high if wanted == 0 else start)
            reach *= 2

    def _offset(self, place: Place, partition: Partition, group: str, bounds: tuple[int, int]) -> int:
        low, high = bounds
        match place.kind:
            case Kind.BEGINNING:
                return low + place.value
            case Kind.END:
                return self._before_end(partition, -place.value, bounds)
            case Kind.OFFSET:
                return place.value
            case Kind.STORED:
                return committed(AdminClient({"bootstrap.servers": self._bootstrap}), group).get(partition, low)
            case Kind.MOMENT:
                asked = TopicPartition(*partition, place.value)
                found = self._consumer.offsets_for_times([asked], timeout=REQUEST_TIMEOUT_S)[0].offset
                return high if found < 0 else int(found)


def answered(records: Iterable[Record | None], within_s: float = SILENT_FOR_S) -> Iterator[Record]:
    """What `Reader.read` gives of a part that is there. Raises Unreachable once nothing came for so many seconds."""
    heard_at = time.monotonic()
    for record in records:
        if record is not None:
            yield record
            heard_at = time.monotonic()  # only now: what was done with the record may have taken long
        elif time.monotonic() - heard_at > within_s:
            raise Unreachable(f"Kafka has not answered for {within_s:.0f} s")


def committed(admin: AdminClient, group: str) -> dict[Partition, int]:
    """The offsets that a group has committed; empty for a group that has none."""
    asked = [ConsumerGroupTopicPartitions(group)]
    futures = admin.list_consumer_group_offsets(asked, request_timeout=REQUEST_TIMEOUT_S)
    try:
        found = futures[group].result()
    except KafkaException as error:
        raise Unreachable(f"group {group}: {error.args[0].str()}") from None
    return {(p.topic, p.partition): p.offset for p in found.topic_partitions if p.offset != OFFSET_INVALID}


def whole(reader: Reader, topics: tuple[str, ...]) -> tuple[dict[Partition, int], dict[Partition, int]]:
    """Starts and ends of all that the topics hold now."""
    bounds = {(topic, number): (0, 0) for topic in topics for number in reader.partitions(topic)}
    bounds = {place: reader.bounds(place) for place in bounds}
    return {place: low for place, (low, _) in bounds.items()}, {place: high for place, (_, high) in bounds.items()}
