"""Verbs of the outbox, against what a connector keeps in Kafka."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.outbox.polling.columns import polling_sql
from connectors.outbox.polling.options import Polling
from connectors.outbox.waiting.asking import connector_named
from connectors.outbox.waiting.entries import REDRIVE, Aggregate, Entry, State, encode
from connectors.outbox.waiting.topic import read_waiting

FAILED = Entry((16, 0), Aggregate("order", "7"), "id1", State.FAILED, "no topic")
BEHIND = Entry((32, 0), Aggregate("order", "7"), "id2", State.WAITING, "waits behind row id1")


@pytest.fixture
def connector(kafka: str) -> Iterator[str]:
    """Name of a connector that keeps a failed row and one behind it."""
    name = f"verbs-{uuid.uuid4().hex[:8]}"
    topic = connector_named(name, kafka).waiting_topic
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 1, 1, config={"cleanup.policy": "compact"})])[topic].result()
    producer = Producer({"bootstrap.servers": kafka})
    for entry in (BEHIND, FAILED):
        producer.produce(topic, encode(entry, None), entry.key)
    producer.flush()
    yield name
    admin.delete_topics([topic])[topic].result()


def answering(kafka: str, name: str, mended: tuple[Entry, ...]) -> threading.Thread:
    """Takes the first request away, as a connector does, and the entries that it mended."""
    config = connector_named(name, kafka)

    def answer() -> None:
        while not (requests := read_waiting(config).requests):
            pass
        producer = Producer({"bootstrap.servers": kafka})
        for key in (*(entry.key for entry in mended), *requests):
            assert key.startswith((b"row/", REDRIVE))
            producer.produce(config.waiting_topic, None, key)
        producer.flush()

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_what_is_not_published_is_listed_in_the_order_of_the_log(run: Any, kafka: str, connector: str) -> None:
    result = run("outbox", "status", "--connector", connector, kafka=kafka)
    assert result.exit_code == 0, result.stderr
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {
            "connector": connector,
            "id": "id1",
            "aggregate": "order/7",
            "status": "FAILED",
            "position": "0/10+0",
            "reason": "no topic",
        },
        {
            "connector": connector,
            "id": "id2",
            "aggregate": "order/7",
            "status": "WAITING",
            "position": "0/20+0",
            "reason": "waits behind row id1",
        },
    ]


def test_a_redrive_ends_well_when_nothing_is_left(run: Any, kafka: str, connector: str) -> None:
    thread = answering(kafka, connector, (FAILED, BEHIND))
    result = run("outbox", "redrive", "--key", "7", "--connector", connector, kafka=kafka)
    thread.join()
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_redrive_says_what_is_refused_again(run: Any, kafka: str, connector: str) -> None:
    thread = answering(kafka, connector, ())
    result = run("outbox", "redrive", "id1", "--connector", connector, kafka=kafka)
    thread.join()
    assert result.exit_code == 5
    assert "2 rows are still not published" in result.stderr
    assert "no topic" in result.stdout


def test_a_redrive_of_what_is_not_there_is_not_found(run: Any, kafka: str, connector: str) -> None:
    assert run("outbox", "redrive", "other", "--connector", connector, kafka=kafka).exit_code == 3
    assert run("outbox", "redrive", "--all", "--connector", "no-such", kafka=kafka).exit_code == 3


def test_a_redrive_must_say_of_what(run: Any, kafka: str) -> None:
    assert run("outbox", "redrive", kafka=kafka).exit_code == 2
    assert run("outbox", "redrive", "id1", "--all", kafka=kafka).exit_code == 2


def test_a_polled_table_says_itself_what_is_not_published(run: Any, postgres: Any) -> None:
    name = f"verbs_{uuid.uuid4().hex[:8]}"
    url = postgres.create_database(name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "create table outbox (id text primary key, aggregatetype text, aggregateid text, payload text)"
        )
        connection.execute(polling_sql("public.outbox", Polling()).encode())
        connection.execute("insert into outbox values ('id1', 'order', '7', 'x'), ('id2', 'order', '7', 'y')")
        connection.execute("update outbox set status = 'FAILED', status_reason = 'no topic' where id = 'id1'")
    try:
        result = run("outbox", "status", "--source-url", url)
        assert result.exit_code == 0, result.stderr
        first, second = (json.loads(line) for line in result.stdout.splitlines())
        assert first == {
            "table": "public.outbox",
            "id": "id1",
            "aggregate": "order/7",
            "status": "FAILED",
            "number": 1,
            "reason": "no topic",
        }
        assert (second["id"], second["status"], second["reason"]) == ("id2", "WAITING", "waits behind row id1")
        assert run("outbox", "redrive", "other", "--source-url", url).exit_code == 3
        assert run("outbox", "status", "--source-url", url, "--table", "elsewhere").exit_code == 3
    finally:
        postgres.drop_database(name)
