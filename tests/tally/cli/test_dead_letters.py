"""Verbs of dead letters over a real Kafka: list, show, redrive, discard; a made-up owner answers."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.codec import AvroCodec
from schemas.keys import SEPARATOR
from schemas.letters import FAILED, WAITING, Place, SetAside, Standing, WaitsBehind, dead_letter
from schemas.messages import ActOnDeadLetters, OrderShipped
from schemas.records import decode_record, encode_record
from schemas.topics import AUDIT_TRAIL, DEAD_LETTERS, DEAD_LETTERS_COMMANDS, TOPICS
from streams.scenario import message

AT = datetime(2026, 1, 1, tzinfo=UTC)
CODEC = AvroCodec()


class Desk:
    """Letters of one key in Kafka, and whoever set them aside."""

    def __init__(self, kafka: str) -> None:
        self.kafka, self.key = kafka, f"o-{uuid.uuid4().hex[:8]}"
        self.producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random"})

    def put(self, offset: int, state: str = FAILED, attempts: int = 1, origin: str = "worker/fold") -> str:
        """A letter; its id."""
        lane = None if origin == "sink-copies" else f"{origin}{SEPARATOR}{self.key}"
        _, value, headers = encode_record(message(OrderShipped(), self.key, 3), CODEC)
        record = SetAside(Place("orders.events", 1, offset), self.key.encode(), value, headers)
        error = ValueError("no") if state == FAILED else WaitsBehind()
        standing = None if lane is None else Standing(lane, state, attempts, "one\ntwo")
        letter = dead_letter(origin, record, error, AT, standing)
        key, value, headers = encode_record(letter, CODEC)
        self.producer.produce(DEAD_LETTERS, value, key, headers=headers)
        self.producer.flush()
        return letter.envelope.id

    def forget(self, letter: str) -> None:
        self.producer.produce(DEAD_LETTERS, None, letter.encode())
        self.producer.flush()

    def answer(self, answer: Callable[[ActOnDeadLetters], None]) -> threading.Thread:
        """Answers the first act that comes from now on, as the owner of partition 1."""
        consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": uuid.uuid4().hex})
        _, end = consumer.get_watermark_offsets(TopicPartition(DEAD_LETTERS_COMMANDS, 1), timeout=10)
        consumer.assign([TopicPartition(DEAD_LETTERS_COMMANDS, 1, end)])

        def serve() -> None:
            record = consumer.poll(30)
            assert record is not None
            answer(decode_record(record.headers(), record.value(), CODEC).body)
            consumer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        return thread


@pytest.fixture
def desk(kafka: str) -> Desk:
    admin = AdminClient({"bootstrap.servers": kafka})
    known = admin.list_topics(timeout=10).topics
    missing = [TOPICS[name] for name in (DEAD_LETTERS, DEAD_LETTERS_COMMANDS, AUDIT_TRAIL) if name not in known]
    new = [NewTopic(topic.name, topic.partitions, 1, config=topic.config) for topic in missing]
    for created in admin.create_topics(new).values() if new else ():
        created.result(30)
    return Desk(kafka)


def listed(run: Any, desk: Desk) -> list[dict[str, Any]]:
    result = run("dead-letters", "list", "--key", desk.key, kafka=desk.kafka)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_letters_are_listed_in_the_order_of_their_lane_and_shown_decoded(run: Any, desk: Desk) -> None:
    desk.put(9, WAITING, 0)
    failed = desk.put(7)
    desk.put(8, WAITING, 0)
    rows = [(row["offset"], row["state"], row["error"]) for row in listed(run, desk)]
    assert rows == [(7, "FAILED", "ValueError"), (8, "WAITING", "WaitsBehind"), (9, "WAITING", "WaitsBehind")]
    shown = json.loads(run("dead-letters", "show", failed, "-f", "json", kafka=desk.kafka).stdout)
    assert (shown["decoded"]["type"], shown["decoded"]["aggregateId"]) == ("ORDER_SHIPPED", desk.key)
    assert (shown["history"], shown["attempts"], shown["reason"]) == (["one", "two"], 1, "no")
    assert run("dead-letters", "show", "no-such", kafka=desk.kafka).exit_code == 3


def test_a_redrive_asks_the_owner_of_the_partition_and_ends_well_when_nothing_is_left(run: Any, desk: Desk) -> None:
    ids = [desk.put(7), desk.put(8, WAITING, 0)]
    heard: list[ActOnDeadLetters] = []

    def owner(wish: ActOnDeadLetters) -> None:
        heard.append(wish)
        for id_ in ids:
            desk.forget(id_)

    thread = desk.answer(owner)
    result = run("dead-letters", "redrive", "--key", desk.key, "--reason", "fixed", kafka=desk.kafka)
    thread.join()
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert (heard[0].act, heard[0].key, heard[0].reason) == ("REDRIVE", desk.key, "fixed")


def test_a_redrive_tells_what_fails_again(run: Any, desk: Desk) -> None:
    letter = desk.put(7)
    desk.put(8, WAITING, 0)
    thread = desk.answer(lambda wish: desk.put(7, attempts=2) and None)
    result = run("dead-letters", "redrive", letter, kafka=desk.kafka)
    thread.join()
    assert result.exit_code == 5
    assert "1 failed again, 1 wait behind them" in result.stderr


def test_a_discard_needs_a_reason_and_takes_the_letter_away(run: Any, desk: Desk) -> None:
    letter = desk.put(7)
    assert run("dead-letters", "discard", letter, kafka=desk.kafka).exit_code == 2
    thread = desk.answer(lambda wish: desk.forget(wish.letter or ""))
    result = run("dead-letters", "discard", letter, "--reason", "told by phone", kafka=desk.kafka)
    thread.join()
    assert result.exit_code == 0, result.stderr
    assert listed(run, desk) == []


def test_a_letter_that_nobody_can_redrive_is_discarded_at_once_and_noted(run: Any, desk: Desk) -> None:
    letter = desk.put(7, origin="sink-copies")
    assert run("dead-letters", "redrive", letter, kafka=desk.kafka).exit_code == 2
    assert run("dead-letters", "discard", letter, "--reason", "a stranger", kafka=desk.kafka).exit_code == 0
    assert listed(run, desk) == []
    told = run("consume", AUDIT_TRAIL, "-o", "beginning", "-e", "-k", letter, "-f", "jsonl", kafka=desk.kafka)
    (act,) = [json.loads(line)["data"] for line in told.stdout.splitlines()]
    assert (act["act"], act["reason"], act["done"]) == ("DISCARD", "a stranger", 1)


def test_what_is_not_there_is_not_found_and_one_must_say_what_is_meant(run: Any, desk: Desk) -> None:
    assert run("dead-letters", "redrive", "--key", desk.key, kafka=desk.kafka).exit_code == 3
    assert run("dead-letters", "redrive", kafka=desk.kafka).exit_code == 2
    assert run("dead-letters", "discard", "--reason", "x", "--all", "--key", "y", kafka=desk.kafka).exit_code == 2
