"""fsck over a real Kafka and a real database: sound ones pass, planted faults end with exit code 5."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from typer.testing import CliRunner

from producers.orders.aggregate import ORDERS
from producers.store.connections import open_pool
from producers.store.deciding import handle_with_retries
from producers.store.migrating import migrate
from producers.store.postgres import PostgresEventStore
from producers.store.tables import Roles
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, new_id
from schemas.messages import ConfirmOrder, CreateOrder, OrderLine, wire_type
from schemas.records import encode_record
from schemas.topics import EVENT_TOPICS, ORDERS_EVENTS, PARTITIONS, TOPICS
from tally.cli.__main__ import app
from tally.cli.fsck import topic_faults
from tally.fsck.running import Sources, fsck
from tally.local.databases import PostgresHost
from tally.local.kafka import Kafka

CODEC = AvroCodec()
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
CREATE = CreateOrder("guest", "GBP", (OrderLine(1, "85123A", 6, 255),), "card", "tok_ok")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """A Kafka of the test's own, with the event topics: fsck reads all that there is."""
    server = Kafka(tmp_path)
    try:
        server.start()
        admin = AdminClient({"bootstrap.servers": server.bootstrap})
        topics = [NewTopic(name, TOPICS[name].partitions, 1, config=TOPICS[name].config) for name in EVENT_TOPICS]
        for made in admin.create_topics(topics).values():
            made.result(30)
        yield server.bootstrap
    finally:
        server.stop()


@pytest.fixture
def store(postgres: PostgresHost) -> Iterator[tuple[str, PostgresEventStore]]:
    """The orders service's database (URL, store), gone after the test."""
    name = f"orders_{uuid.uuid4().hex[:10]}"
    database = postgres.create_service(name, lambda role: f"secret-of-{role}")
    migrate("orders", database.owner_url, Roles(name, f"{name}_connector"))
    pool = open_pool(database.service_url, "orders")
    yield database.service_url, PostgresEventStore(pool, CODEC)
    pool.close()
    postgres.drop_database(name)


def write(store: PostgresEventStore) -> list[Message]:
    """An order with two events, in the database alone."""
    order_id = new_id()
    for body in (CREATE, ConfirmOrder()):
        id_ = new_id()
        envelope = Envelope(id_, wire_type(type(body)), "/t", "orders", order_id, None, NOON, id_, id_)
        handle_with_retries(store, ORDERS, Message(envelope, body), NOON)
    return store.read("orders", order_id)


def publish(broker: str, events: list[Message]) -> None:
    producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True, "partitioner": "murmur2_random"})
    for event in events:
        key, value, headers = encode_record(event, CODEC)
        producer.produce(f"{event.envelope.aggregatetype}.events", value, key, headers=headers)
    producer.flush()


def test_what_is_on_its_way_is_no_fault_and_what_stays_away_is(
    broker: str, store: tuple[str, PostgresEventStore]
) -> None:
    url, orders = store
    events = [event for _ in range(20) for event in write(orders)]
    publish(broker, events[:-1])
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "looking again" in line:
            publish(broker, events[-1:])

    report = fsck(Sources(broker, {"orders": url}, tables=False), lambda: topic_faults(broker), say)
    assert report.findings == ()
    assert {name: report.figures[name] for name in ("records", "aggregates", "snapshots")} == {
        "records": 40,
        "aggregates": 20,
        "snapshots": 20,
    }
    assert sum("looking again" in line for line in said) == 1
    told = {line.split(":")[0] for line in said if line.startswith("partition")}
    assert told == {f"partition {number}" for number in range(PARTITIONS)}
    with psycopg.connect(url) as connection:
        connection.execute("update heads set version = 3 where aggregateid = %s", (events[0].envelope.subject,))
    (found,) = fsck(Sources(broker, {"orders": url}, tables=False), list).findings
    assert (found.check, found.place) == ("heads-agree", f"orders/{events[0].envelope.subject}")


def run(broker: str) -> Result:
    arguments = ["fsck", "--no-databases", "--no-tables", "-f", "json"]
    return CliRunner().invoke(app, arguments, env={"TALLY_KAFKA_BOOTSTRAP": broker})


def shorten_retention(admin: AdminClient) -> None:
    entry = ConfigEntry("retention.ms", "604800000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, ORDERS_EVENTS, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(30)


def make_anew_with_fewer_partitions(admin: AdminClient) -> None:
    admin.delete_topics(["wallets.events"])["wallets.events"].result(30)
    topic = NewTopic("wallets.events", 2, 1, config=TOPICS["wallets.events"].config)
    admin.create_topics([topic])["wallets.events"].result(30)


def lose_what_stood_first(admin: AdminClient) -> None:
    lost = TopicPartition("payments.events", 1, 1)
    admin.delete_records([lost])[lost].result(30)


def drop(admin: AdminClient) -> None:
    admin.delete_topics(["customers.events"])["customers.events"].result(30)


def partitions(admin: AdminClient, topic: str) -> int:
    """How many the broker tells of; 0 where it knows no such topic."""
    found = admin.list_topics(timeout=10).topics.get(topic)
    return 0 if found is None or found.error is not None else len(found.partitions)


def test_faults_of_topics_and_records_end_with_exit_code_5(broker: str) -> None:
    assert json.loads(run(broker).stdout)["ok"]
    admin = AdminClient({"bootstrap.servers": broker})
    producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True})
    producer.produce(ORDERS_EVENTS, b"no event", b"o1", partition=0)
    producer.produce("payments.events", b"lost", b"o1", partition=1)
    producer.flush()
    plants: list[Callable[[AdminClient], None]] = [
        shorten_retention,
        make_anew_with_fewer_partitions,
        lose_what_stood_first,
        drop,
    ]
    for plant in plants:
        plant(admin)
    # The broker tells of a change a moment after the controller has made it.
    looks = iter(range(200))
    while (partitions(admin, "wallets.events"), partitions(admin, "customers.events")) != (2, 0):
        threading.Event().wait(0.05)
        assert next(looks, None) is not None
    result = run(broker)
    document: dict[str, Any] = json.loads(result.stdout)
    assert (result.exit_code, document["ok"]) == (5, False)
    said = {(finding["check"], finding["place"]): finding["message"] for finding in document["findings"]}
    assert "retention.ms=604800000" in said["topics-keep-all", "orders.events"]
    assert "2 partitions, not 4" in said["topics-keep-all", "wallets.events"]
    assert "is not there" in said["topics-keep-all", "customers.events"]
    assert "header" in said["records-are-readable", "orders.events/0/0"]
    assert "before offset 1 is gone" in said["topics-keep-all", "payments.events/1"]
    assert len(said) == 5
