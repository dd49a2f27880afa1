"""A dead letter of the outbox is redriven as `tally outbox redrive` would, and goes from the list."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.outbox.waiting.asking import connector_named
from connectors.outbox.waiting.entries import Aggregate, Entry, State, encode
from connectors.outbox.waiting.topic import read_waiting
from schemas.codec import AvroCodec
from schemas.envelope import now
from schemas.errors import ContractError
from schemas.letters import Place, SetAside, dead_letter
from schemas.records import encode_record
from schemas.topics import DEAD_LETTERS


def make_topic(kafka: str, topic: str) -> AdminClient:
    admin = AdminClient({"bootstrap.servers": kafka})
    try:
        admin.create_topics([NewTopic(topic, 1, 1, config={"cleanup.policy": "compact"})])[topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    return admin


@pytest.fixture
def letter(kafka: str) -> Iterator[Callable[[str], str]]:
    """Puts a letter of this origin into the topic; gives its id. They are taken away at the end."""
    made: list[bytes | None] = []
    make_topic(kafka, DEAD_LETTERS)
    producer = Producer({"bootstrap.servers": kafka})

    def put(origin: str) -> str:
        record = SetAside(Place("t", None, None, str(uuid.uuid4())), b"7", b"value", [("type", b"T")])
        key, value, headers = encode_record(
            dead_letter(origin, record, ContractError("no such topic"), now()), AvroCodec()
        )
        producer.produce(DEAD_LETTERS, value, key, headers=list(headers))
        producer.flush()
        made.append(key)
        return (key or b"").decode()

    yield put
    for key in made:
        producer.produce(DEAD_LETTERS, None, key)
    producer.flush()


@pytest.fixture
def waiting(kafka: str) -> Iterator[Callable[[str], str]]:
    """A connector that keeps the failed row of a letter, and mends it when it is asked; gives its name."""
    answering: list[threading.Thread] = []
    made: list[str] = []
    admin = AdminClient({"bootstrap.servers": kafka})

    def put(letter: str) -> str:
        name = f"letters-{uuid.uuid4().hex[:8]}"
        config = connector_named(name, kafka)
        make_topic(kafka, config.waiting_topic)
        made.append(config.waiting_topic)
        entry = Entry((16, 0), Aggregate("order", "7"), "row1", State.FAILED, "no topic", letter.encode())
        producer = Producer({"bootstrap.servers": kafka})
        producer.produce(config.waiting_topic, encode(entry, None), entry.key)
        producer.flush()

        def answer() -> None:
            while not (requests := read_waiting(config).requests):
                pass
            assert [request.row_id for request in requests.values()] == ["row1"]
            for topic, key in (
                (config.waiting_topic, entry.key),
                (DEAD_LETTERS, letter.encode()),
                *((config.waiting_topic, key) for key in requests),
            ):
                producer.produce(topic, None, key)
            producer.flush()

        answering.append(threading.Thread(target=answer, daemon=True))
        answering[-1].start()
        return name

    yield put
    for thread in answering:
        thread.join(60)
    for future in admin.delete_topics(made).values() if made else ():
        future.result()


def listed(run: Any, kafka: str) -> dict[str, dict[str, Any]]:
    result = run("dead-letters", "list", "-f", "jsonl", kafka=kafka)
    assert result.exit_code == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    return {row["id"]: row for row in rows}


def test_a_letter_of_the_outbox_is_redriven_and_goes_from_the_list(
    run: Any, kafka: str, letter: Any, waiting: Any
) -> None:
    id_ = letter("outbox")
    assert listed(run, kafka)[id_]["reason"] == "no such topic"
    waiting(id_)
    result = run("dead-letters", "redrive", id_, kafka=kafka)
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert id_ not in listed(run, kafka)


def test_a_letter_whose_row_waits_no_more_is_not_found(run: Any, kafka: str, letter: Any) -> None:
    result = run("dead-letters", "redrive", letter("outbox"), kafka=kafka)
    assert result.exit_code == 3
    assert "does not wait any more" in result.stderr
