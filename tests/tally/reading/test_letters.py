"""Dead letters as their topic on a real Kafka holds them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from producers.api.asked_of_kafka import KafkaSilent
from schemas.codec import AvroCodec
from schemas.letters import Place, SetAside, Standing, dead_letter
from schemas.records import encode_record
from schemas.topics import DEAD_LETTERS, TOPICS
from tally.local.ports import free_ports
from tally.reading.letters import KafkaLetters


def test_the_last_record_of_a_key_counts_and_one_without_value_takes_it_away(kafka: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    if DEAD_LETTERS not in admin.list_topics(timeout=10).topics:
        topic = TOPICS[DEAD_LETTERS]
        new = NewTopic(topic.name, topic.partitions, 1, config=topic.config)
        admin.create_topics([new])[topic.name].result(30)
    producer = Producer({"bootstrap.servers": kafka, "enable.idempotence": True})
    lane = f"worker/fold {uuid.uuid4().hex}"
    for attempts, offset in ((1, 5), (2, 5), (1, 6)):
        aside = SetAside(Place("orders.events", 0, offset), lane.encode(), b"v", [])
        standing = Standing(lane, "FAILED", attempts)
        letter = dead_letter("worker/fold", aside, ValueError("no"), datetime(2026, 1, 1, tzinfo=UTC), standing)
        key, value, headers = encode_record(letter, AvroCodec())
        producer.produce(DEAD_LETTERS, value, key, headers=headers)
    producer.produce(DEAD_LETTERS, None, key)
    producer.produce(DEAD_LETTERS, b"no letter", lane.encode())
    producer.flush(10)
    found = [row for row in KafkaLetters(kafka).read() if lane in (row["lane"], row["id"])]
    # They lie in partitions of their own, which are read in any order.
    assert {(row["offset"], row["attempts"]) for row in found} == {(5, 2), (None, None)}
    assert len(found) == 2
    assert "value" not in found[0]


def test_kafka_that_does_not_answer_is_said() -> None:
    (port,) = free_ports(1)
    with pytest.raises(KafkaSilent, match="does not answer"):
        KafkaLetters(f"127.0.0.1:{port}").read()
