"""Dead letters by HTTP, and as their topic on a real Kafka holds them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from producers.api.kept_letters import KafkaLetters
from schemas.codec import AvroCodec
from schemas.letters import Place, SetAside, Standing, dead_letter
from schemas.records import encode_record
from schemas.topics import DEAD_LETTERS, TOPICS


def row(offset: int, state: str, lane: str = "a") -> dict[str, Any]:
    return {"lane": lane, "state": state, "key": f"key {lane}", "offset": offset, "recorded_at": "2026"}


def test_letters_stand_in_the_order_of_their_lanes_and_can_be_asked_for(api: Any) -> None:
    api.letters.rows = [row(9, "WAITING"), row(7, "FAILED"), row(8, "WAITING"), row(1, "FAILED", "b")]
    offsets = [item["offset"] for item in api.client.get("/dead-letters").json()["items"]]
    assert offsets == [7, 8, 9, 1]
    wanted = api.client.get("/dead-letters", params={"state": "FAILED", "key": "key b"}).json()["items"]
    assert [item["offset"] for item in wanted] == [1]
    api.letters.rows = None
    assert api.client.get("/dead-letters").status_code == 503


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
    found = [row for row in KafkaLetters(kafka, AvroCodec()).read() if lane in (row["lane"], row["id"])]
    # They lie in partitions of their own, which are read in any order.
    assert {(row["offset"], row["attempts"]) for row in found} == {(5, 2), (None, None)}
    assert len(found) == 2
    assert "value" not in found[0]
