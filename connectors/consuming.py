"""A member of a Kafka consumer group that begins where somebody other than Kafka remembers.

Kafka assigns the partitions; the offsets come from where the effects are stored. The order of things:
1. Kafka assigns: `unplaced` becomes true and nothing is read.
2. The owner looks up its positions, which may take as long as it takes (`idle` keeps the membership meanwhile).
3. `place` begins reading there. After any doubt: `unplace`, and again from 2.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.envelope import Headers

log = structlog.get_logger(__name__)

Partition = tuple[str, int]

# librdkafka's consumer is dead after these. The error of a polled message never has its `fatal` flag set: its code says it.
ENDS_THE_CONSUMER = (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID)
WATERMARKS_WITHIN_S = 5.0
# A killed process with a static id is back long before this; a lost one is missed after it.
SESSION_TIMEOUT_MS = 10_000
# How soon a topic that is created later is seen.
METADATA_REFRESH_MS = 5_000
PREFETCH_KBYTES = 16 * 1024
IDLE_STEP_S = 0.1


class ConsumingError(Exception):
    """Reading cannot go on in this process."""


class Fenced(ConsumingError):
    """Another process took our place in the group, or Kafka refuses us for good."""


class KafkaAway(Exception):
    """Kafka does not answer now; try again."""


@dataclass(frozen=True, slots=True)
class Group:
    """Who reads: `instance` names the member for good (static membership), one live process each."""

    bootstrap: str
    name: str
    instance: str
    topics: tuple[str, ...]
    session_timeout_ms: int = SESSION_TIMEOUT_MS
    kafka: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a batch is closed: at so many records or bytes, or when nothing more lies ready.

    The first record is waited for `wait_s` at most.
    """

    records_max: int = 500
    bytes_max: int = 4 * 1024 * 1024
    wait_s: float = 0.2


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was read."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class PlacedConsumer:
    """See the module. One thread uses it."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._owned: tuple[Partition, ...] = ()
        self._topics: frozenset[str] = frozenset()
        self._gathered: list[Record] = []
        self._next: dict[Partition, int] = {}
        self.unplaced = False
        self.joined = False
        self._held = False
        self._consumer = Consumer(_configuration(group), logger=logging.getLogger("kafka"))
        if group.topics:
            self.subscribe(group.topics)

    def subscribe(self, topics: tuple[str, ...]) -> None:
        """These topics from now on; nothing is read until Kafka has assigned partitions of them."""
        self._topics = frozenset(topics)
        self._owned, self._next = (), {}
        self._gathered.clear()
        self._consumer.assign([])
        self.unplaced = False
        self._consumer.subscribe(list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke)

    @property
    def owned(self) -> tuple[Partition, ...]:
        """The partitions that Kafka assigned, sorted."""
        return self._owned

    def place(self, offsets: Mapping[Partition, int]) -> None:
        """Begin to read every owned partition at its offset."""
        self._next = dict(offsets)
        self._consumer.assign([TopicPartition(t, p, offsets[t, p]) for t, p in self._owned])
        self.unplaced = self._held = False

    def hold(self, full: bool, topic: str) -> None:
        """Take no more records of a topic while `full`; the membership stays, and other topics are read on."""
        if full != self._held and not self.unplaced:
            owned = [TopicPartition(*partition) for partition in self._owned if partition[0] == topic]
            if full:
                log.warning("holds", reason="as much waits as may wait")
                self._consumer.pause(owned)
            else:
                self._consumer.resume(owned)
            self._held = full

    def unplace(self) -> None:
        """Read nothing until the next `place`; what was gathered and not worked is read again then."""
        self._gathered.clear()
        self._consumer.assign([])
        self.unplaced = True

    def gather(self, bounds: Bounds) -> list[Record]:
        """The next batch: one record as soon as it is there, and what lies behind it ready.

        Empty when none came in time or the assignment changed. Raises Fenced.
        """
        gathered, size = self._gathered, 0
        gathered.clear()
        wait_s = bounds.wait_s
        while not self.unplaced and len(gathered) < bounds.records_max and size < bounds.bytes_max:
            message = self._consumer.poll(wait_s)
            if message is None:
                break
            wait_s = 0
            record = self._read(message)
            if record is not None:
                gathered.append(record)
                size += len(record.value or b"")
        return [] if self.unplaced else list(gathered)

    def idle(self, seconds: float, stop: Event) -> None:
        """Stay a member for so long without reading; call it unplaced. Raises Fenced."""
        until_s = time.monotonic() + seconds
        while not stop.is_set() and (left_s := until_s - time.monotonic()) > 0:
            message = self._consumer.poll(min(left_s, IDLE_STEP_S))
            if message is not None:
                self._read(message)

    def limits(self, partition: Partition) -> tuple[int, int]:
        """Lowest offset and end of a partition, asked from the broker. Raises KafkaAway."""
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=WATERMARKS_WITHIN_S)
        except KafkaException as error:
            raise KafkaAway(f"limits of {partition[0]}/{partition[1]}: {error}") from None
        return low, high

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises KafkaAway."""
        try:
            found = self._consumer.list_topics(topic, timeout=WATERMARKS_WITHIN_S).topics[topic]
        except KafkaException as error:
            raise KafkaAway(f"partitions of {topic}: {error}") from None
        return len(found.partitions)

    def committed(self) -> dict[Partition, int]:
        """The group's offsets of what is owned; a partition without one is missing. Raises KafkaAway."""
        try:
            found = self._consumer.committed([TopicPartition(*p) for p in self._owned], timeout=WATERMARKS_WITHIN_S)
        except KafkaException as error:
            raise KafkaAway(f"committed offsets: {error}") from None
        return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}

    def commit(self, offsets: Mapping[Partition, int], *, wait: bool = False) -> None:
        """Commit the group's offsets, in the background unless `wait`. Raises KafkaAway if it waited."""
        self._next.update(offsets)
        committed = [TopicPartition(t, p, offset) for (t, p), offset in offsets.items()]
        try:
            self._consumer.commit(offsets=committed, asynchronous=not wait)
        except KafkaException as error:
            if wait:
                raise KafkaAway(f"commit of offsets: {error}") from None
            log.warning("offsets not shown", reason=str(error))

    def lag(self) -> dict[Partition, int]:
        """Records between what was worked and the end, as far as the last fetch told."""
        lags = {}
        for partition in self._owned:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
            if high >= 0 and partition in self._next:
                lags[partition] = max(0, high - max(low, self._next[partition]))
        return lags

    def close(self) -> None:
        """Leave; a static member keeps its partitions for the session time-out, so that a restart moves nothing."""
        self._consumer.close()

    def _read(self, message: Message) -> Record | None:
        error = message.error()
        if error is None:
            offset = message.offset()
            assert offset is not None
            return Record(
                message.topic() or "",
                message.partition() or 0,
                offset,
                message.key(),
                message.value(),
                _headers(message),
            )
        if error.code() in ENDS_THE_CONSUMER:
            raise Fenced(error.str())
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            # What we were to read next is gone, or never was there: the owner looks at its positions again.
            self.unplace()
        log.warning("kafka", reason=error.str(), code=error.name())
        return None

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # One that was under way when we subscribed to others may still bring the former ones.
        self._owned = tuple(sorted((tp.topic, tp.partition) for tp in partitions if tp.topic in self._topics))
        self._gathered.clear()
        self.unplaced = self.joined = True
        # Reading begins in `place`: asking a database here would stop the heartbeat of a slow one.
        consumer.assign([])

    def _on_revoke(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        self._owned = ()
        self._next = {}
        self._gathered.clear()
        self.unplaced = True
        consumer.unassign()


def _configuration(group: Group) -> dict[str, str | int | float | bool]:
    return {
        "bootstrap.servers": group.bootstrap,
        "group.id": group.name,
        "group.instance.id": group.instance,
        "client.id": group.instance,
        "session.timeout.ms": group.session_timeout_ms,
        "heartbeat.interval.ms": min(3_000, group.session_timeout_ms // 3),
        "partition.assignment.strategy": "range",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS,
        "queued.max.messages.kbytes": PREFETCH_KBYTES,
        "fetch.wait.max.ms": 500,  # the broker answers at the first record; empty answers cost both sides time
        "reconnect.backoff.max.ms": 5_000,
        **group.kafka,
    }


def _headers(message: Message) -> Headers:
    found = message.headers() or []
    return list(found.items()) if isinstance(found, dict) else list(found)
