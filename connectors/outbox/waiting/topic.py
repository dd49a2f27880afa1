"""Reads the topic of unpublished rows: whole at a start, and its tail for people's requests."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import ProducerLost
from connectors.outbox.kafka_log import kafka_logger
from connectors.outbox.republishing.asked import REPUBLISH, Republish
from connectors.outbox.stored import bounds, consumer_settings
from connectors.outbox.waiting.entries import REDRIVE, ROW, Content, Entry, Request, decode

_ANSWER_WITHIN_S = 10.0
_TAKE_RECORDS = 100


@dataclass(slots=True)
class Read:
    """What stands in the topic; `end` is the offset behind the last record. Contents only of the keys asked for.

    `gone`: requests to republish that were taken away.
    """

    entries: dict[bytes, Entry] = field(default_factory=dict)
    contents: dict[bytes, Content] = field(default_factory=dict)
    requests: dict[bytes, Request] = field(default_factory=dict)
    republish: dict[bytes, Republish] = field(default_factory=dict)
    gone: set[bytes] = field(default_factory=set)
    end: int = 0

    def take(self, key: bytes, value: bytes | None, contents_of: Collection[bytes]) -> None:
        """One record more: the last of a key counts, a tombstone takes it away."""
        if value is None:
            for known in (self.entries, self.contents, self.requests, self.republish):
                known.pop(key, None)
            if key.startswith(REPUBLISH):
                self.gone.add(key)
        elif key.startswith(ROW):
            self.entries[key], content = decode(key, value)
            if content is not None and key in contents_of:
                self.contents[key] = content
        elif key.startswith(REDRIVE) and (request := Request.from_json(value)) is not None:
            self.requests[key] = request
        elif key.startswith(REPUBLISH) and (republish := Republish.from_json(value)) is not None:
            self.republish[key] = republish


def read_waiting(config: OutboxConfig, contents_of: Collection[bytes] = ()) -> Read:
    """All that is committed. Raises ProducerLost while Kafka does not answer."""
    consumer = Consumer(consumer_settings(config), logger=kafka_logger())
    try:
        low, high = bounds(consumer, config.waiting_topic)
        found = Read(end=high)
        if low < high:
            consumer.assign([TopicPartition(config.waiting_topic, 0, low)])
        while low < high:
            record = consumer.poll(_ANSWER_WITHIN_S)
            if record is None:
                raise ProducerLost("the topic of waiting rows does not answer")
            if record.error() is None:
                found.take(record.key() or b"", record.value(), contents_of)
                low = record.offset() + 1
            elif record.error().code() == KafkaError._PARTITION_EOF:
                low = record.offset()
            else:
                raise KafkaException(record.error())
        return found
    except KafkaException as error:
        raise ProducerLost(f"waiting rows: {error.args[0].str()}") from None
    finally:
        consumer.close()


class Tail:
    """Requests that come while the connector runs. It is open only while something is to be heard."""

    def __init__(self, config: OutboxConfig, offset: int) -> None:
        self._consumer = Consumer(
            {**consumer_settings(config), "enable.partition.eof": False, "fetch.wait.max.ms": 500},
            logger=kafka_logger(),
        )
        self._consumer.assign([TopicPartition(config.waiting_topic, 0, offset)])
        self.offset = offset

    def read(self) -> Read:
        """Requests that have come by now; never waits."""
        found = Read()
        while records := self._consumer.consume(_TAKE_RECORDS, 0):
            for record in records:
                if record.error() is None:
                    self.offset = record.offset() + 1
                    if (record.key() or b"").startswith((REDRIVE, REPUBLISH)):
                        found.take(record.key() or b"", record.value(), ())
        return found

    def close(self) -> None:
        """Frees its connections."""
        self._consumer.close()
