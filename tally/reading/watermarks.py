"""First and next offset of a partition, asked for until its leader answers."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

_AGAIN_AFTER_S = 0.1
# A topic that was made a moment ago, or whose leader is just changing: brokers learn of it one after another.
_PASSING = (
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)


def watermarks(consumer: Consumer, partition: tuple[str, int], within_s: float) -> tuple[int, int]:
    """(first offset, end) as the consumer's isolation level sees the end. Raises KafkaException."""
    until = time.monotonic() + within_s
    while True:
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(*partition), timeout=within_s, cached=False)
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or time.monotonic() > until:
                raise
            time.sleep(_AGAIN_AFTER_S)
        else:
            return int(low), int(high)
