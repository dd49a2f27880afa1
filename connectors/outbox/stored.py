"""Reads the position that the connector stored in Kafka."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import ProducerLost
from connectors.outbox.kafka_log import kafka_logger
from connectors.outbox.positions import StoredPosition

# The last record is ours unless it is a transaction marker, so the tail is nearly always enough.
_TAIL = 32
_WIDER = 16
_ANSWER_WITHIN_S = 10.0


def read_stored_position(config: OutboxConfig) -> StoredPosition | None:
    """The last committed position; None if there never was one. Raises as `read_last_record`."""
    value = read_last_record(config)
    return None if value is None else StoredPosition.from_json(value)


def read_last_record(config: OutboxConfig) -> bytes | None:
    """What the last committed batch stored; None if there never was one.

    To be called after the producer has taken over: then nothing is open in the topic, so reading up to the high
    watermark with read_committed sees everything. Raises ProducerLost while Kafka does not answer.
    """
    consumer = Consumer(consumer_settings(config), logger=kafka_logger())
    try:
        low, high = bounds(consumer, config.positions_topic)
        back = _TAIL
        while low < high:
            start = max(low, high - back)
            value = _last_value(consumer, TopicPartition(config.positions_topic, 0, start), high)
            if value is not None:
                return value
            if start == low:
                return None
            back *= _WIDER
        return None
    except KafkaException as error:
        raise ProducerLost(f"stored position: {error.args[0].str()}") from None
    finally:
        consumer.close()


def consumer_settings(config: OutboxConfig) -> dict[str, Any]:
    """librdkafka's settings for a reader of the connector's own topics."""
    return {
        "log_level": 2,
        **{
            name: value
            for name, value in config.kafka.items()
            if name.startswith(("security.", "sasl.", "ssl.", "client."))
        },
        "bootstrap.servers": config.bootstrap,
        "group.id": f"{config.positions_topic}-reader",  # librdkafka demands one; nothing is ever committed to it
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 10,
    }


def bounds(consumer: Consumer, topic: str) -> tuple[int, int]:
    """Offsets of the topic's first record and behind its last; waits for a topic that was made just now."""
    deadline = time.monotonic() + _ANSWER_WITHIN_S
    while True:
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), 5)
            return int(low), int(high)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _last_value(consumer: Consumer, start: TopicPartition, high: int) -> bytes | None:
    """The last committed value from `start` up to the offset `high`."""
    consumer.assign([start])
    found: bytes | None = None
    while True:
        record = consumer.poll(_ANSWER_WITHIN_S)
        if record is None:
            raise ProducerLost("the topic of positions does not answer")
        if record.error() is None:
            if record.value() is not None:
                found = record.value()
            if record.offset() + 1 >= high:
                return found
        elif record.error().code() == KafkaError._PARTITION_EOF:
            # Aborted records and markers are skipped: only an end at the high watermark is the end.
            if record.offset() >= high:
                return found
        else:
            raise KafkaException(record.error())
