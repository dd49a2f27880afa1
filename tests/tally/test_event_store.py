"""The event store as a program sees it: over a real database and a real topic, with an index that ends anywhere."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from producers.orders.aggregate import ORDERS
from producers.store.connections import Pool, open_pool
from producers.store.migrating import migrate
from producers.store.postgres import PostgresEventStore
from producers.store.tables import Roles
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, now
from schemas.errors import Conflict
from schemas.histories import Row, to_row
from schemas.messages import (
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    OrderShipped,
    StockReceived,
    wire_type,
)
from schemas.records import encode_record
from tally.event_store import DamagedRecord, EventStore, HistoryBehind, NotAppendable, WrongEvent
from tally.local.databases import PostgresHost, ServiceDatabase
from tally.reading.workers import NotServed

CODEC = AvroCodec()
NOWHERE = "127.0.0.1:9"
CREATED = OrderCreated("guest", "GBP", (OrderLine(1, "S", 1, 100),), 100, "card", "tok_ok")
Clean = Callable[[str, int], None]
ENVELOPE = {"id", "type", "aggregateId", "data", "timestamp", "version"}


@dataclass
class SomeIndex:
    """Rows by (type, id), as a worker has them; None: no worker answers."""

    held: dict[tuple[str, str], list[Row]] | None = field(default_factory=dict)
    versions: dict[tuple[str, str], int] = field(default_factory=dict)
    after_a_look: Callable[[], None] = lambda: None

    def rows(self, aggregatetype: str, aggregate_id: str, first: int, last: int) -> list[Row]:
        if self.held is None:
            raise NotServed("no worker runs")
        found = list(self.held.get((aggregatetype, aggregate_id), []))
        self.after_a_look()
        return [row for row in found if first <= int(row["headers"]["aggregateversion"]) <= last]

    def version(self, aggregatetype: str, aggregate_id: str) -> int:
        return self.versions.get((aggregatetype, aggregate_id), 0)

    def close(self) -> None:
        """Nothing to give back."""

    def put(self, message: Message) -> None:
        assert self.held is not None
        _, value, headers = encode_record(message, CODEC)
        of = (message.envelope.aggregatetype, message.envelope.subject)
        self.held.setdefault(of, []).append(to_row(0, 0, headers, value))


@pytest.fixture(scope="module")
def database(postgres: PostgresHost) -> Iterator[ServiceDatabase]:
    name = f"orders_{uuid.uuid4().hex[:10]}"
    made = postgres.create_service(name, lambda role: f"secret-of-{role}")
    migrate("orders", made.owner_url, Roles(name, f"{name}_connector"))
    yield made
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def pool(database: ServiceDatabase) -> Iterator[Pool]:
    pool = open_pool(database.service_url, "event-store")
    yield pool
    pool.close()


@pytest.fixture
def clean(database: ServiceDatabase) -> Clean:
    """Takes a version out of the outbox, as the connector cleans up what Kafka has."""

    def take(order_id: str, version: int) -> None:
        with psycopg.connect(database.connector_url) as connection:
            connection.execute("delete from outbox where aggregateid = %s and version = %s", (order_id, version))

    return take


@pytest.fixture
def index() -> SomeIndex:
    return SomeIndex()


@pytest.fixture
def orders(pool: Pool, index: SomeIndex) -> EventStore:
    return EventStore("orders", NOWHERE, pool, index, CODEC)


@pytest.fixture
def order_id() -> str:
    return f"o-{uuid.uuid4().hex[:8]}"


def types(events: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(event["version"], event["type"]) for event in events]


def test_events_go_in_behind_the_expected_version_and_come_out_plain(orders: EventStore, order_id: str) -> None:
    first = orders.append(order_id, [CREATED, OrderConfirmed()], expected_version=0)
    second = orders.append(order_id, [OrderShipped()], expected_version=2)
    assert [set(event) for event in first + second] == [ENVELOPE] * 3
    assert orders.read(order_id) == first + second
    assert types(first + second) == [(1, "ORDER_CREATED"), (2, "ORDER_CONFIRMED"), (3, "ORDER_SHIPPED")]
    assert first[0]["data"]["lines"] == [{"line": 1, "sku": "S", "quantity": 1, "unit_price_minor": 100}]
    assert types(orders.read(order_id, 2, 2)) == [(2, "ORDER_CONFIRMED")]
    assert orders.read("nobody") == []


def test_the_head_row_holds_the_fold_of_what_was_appended(orders: EventStore, pool: Pool, order_id: str) -> None:
    orders.append(order_id, [CREATED, OrderCancelled("CUSTOMER")], expected_version=0)
    state = ORDERS.state_of(PostgresEventStore(pool, CODEC).find_head("orders", order_id))
    assert (state.status, state.reason, state.total_minor) == ("CANCELLED", "CUSTOMER", 100)


@pytest.mark.parametrize("expected", [0, 2, 7])
def test_another_expected_version_is_a_conflict_and_keeps_nothing(
    orders: EventStore, order_id: str, expected: int
) -> None:
    orders.append(order_id, [CREATED], expected_version=0)
    with pytest.raises(Conflict):
        orders.append(order_id, [OrderConfirmed()], expected_version=expected)
    assert types(orders.read(order_id)) == [(1, "ORDER_CREATED")]


def test_a_head_that_was_kept_gives_way_to_what_another_writer_did(
    pool: Pool, orders: EventStore, order_id: str
) -> None:
    other = EventStore("orders", NOWHERE, pool, SomeIndex(), CODEC)
    orders.append(order_id, [CREATED], expected_version=0)
    other.append(order_id, [OrderConfirmed()], expected_version=1)
    with pytest.raises(Conflict):
        orders.append(order_id, [OrderCancelled("LATE")], expected_version=1)
    orders.append(order_id, [OrderShipped()], expected_version=2)
    head = PostgresEventStore(pool, CODEC).find_head("orders", order_id)
    assert (head.version, ORDERS.state_of(head).status, ORDERS.state_of(head).total_minor) == (3, "SHIPPED", 100)


def test_of_writers_that_expect_the_same_version_one_wins(orders: EventStore, order_id: str) -> None:
    orders.append(order_id, [CREATED], expected_version=0)

    def write(_: int) -> bool:
        try:
            orders.append(order_id, [OrderConfirmed()], expected_version=1)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as writers:
        assert sum(writers.map(write, range(8))) == 1
    assert types(orders.read(order_id)) == [(1, "ORDER_CREATED"), (2, "ORDER_CONFIRMED")]


@pytest.mark.parametrize("indexed", [(), (1,), (1, 2), (2,), (1, 2, 3)])
def test_the_seam_of_index_and_outbox_shows_neither_gap_nor_repeat(
    orders: EventStore, pool: Pool, index: SomeIndex, order_id: str, indexed: tuple[int, ...]
) -> None:
    orders.append(order_id, [CREATED, OrderConfirmed(), OrderShipped()], expected_version=0)
    for message in PostgresEventStore(pool, CODEC).read("orders", order_id):
        if message.envelope.version in indexed:
            index.put(message)
    assert [version for version, _ in types(orders.read(order_id))] == [1, 2, 3]
    assert [version for version, _ in types(orders.read(order_id, 2))] == [2, 3]


@pytest.mark.parametrize("indexed", [(), (1,), (1, 3), (3,)])
def test_a_gap_that_nothing_fills_is_named(
    orders: EventStore, pool: Pool, clean: Clean, index: SomeIndex, order_id: str, indexed: tuple[int, ...]
) -> None:
    orders.append(order_id, [CREATED, OrderConfirmed(), OrderShipped()], expected_version=0)
    for message in PostgresEventStore(pool, CODEC).read("orders", order_id):
        if message.envelope.version in indexed:
            index.put(message)
    clean(order_id, 2)
    lacks = 2 if 1 in indexed else 1
    with pytest.raises(HistoryBehind, match=f"orders/{order_id}: version {lacks} of 3 is neither"):
        orders.read(order_id)


def test_what_left_the_outbox_is_waited_for_in_the_index(
    orders: EventStore, pool: Pool, clean: Clean, index: SomeIndex, order_id: str
) -> None:
    orders.append(order_id, [CREATED, OrderConfirmed()], expected_version=0)
    first = PostgresEventStore(pool, CODEC).read("orders", order_id)[0]
    clean(order_id, 1)
    index.after_a_look = lambda: index.put(first)
    assert [version for version, _ in types(orders.read(order_id))] == [1, 2]


@pytest.mark.parametrize(
    "payload", [b"", CODEC.encode(CREATED)[:-1], CODEC.encode(CREATED) + b"\x00", b"\x00\x00\x00\x00\x07"]
)
def test_a_damaged_record_is_named_by_its_place(
    orders: EventStore, index: SomeIndex, order_id: str, payload: bytes
) -> None:
    orders.append(order_id, [CREATED], expected_version=0)
    assert index.held is not None
    headers = [*event("orders", order_id, 1, CREATED).envelope.headers()]
    index.held["orders", order_id] = [to_row(3, 17, headers, payload)]
    with pytest.raises(DamagedRecord, match=r"orders\.events/3/17"):
        orders.read(order_id)


def test_without_a_worker_the_outbox_tells_all(pool: Pool, order_id: str) -> None:
    orders = EventStore("orders", NOWHERE, pool, SomeIndex(held=None), CODEC)
    orders.append(order_id, [CREATED], expected_version=0)
    assert types(orders.read(order_id)) == [(1, "ORDER_CREATED")]


def test_what_a_worker_writes_is_read_to_the_version_of_its_table_and_never_appended(index: SomeIndex) -> None:
    inventory = EventStore("inventory", NOWHERE, None, index, CODEC)
    with pytest.raises(NotAppendable):
        inventory.append("sku", [StockReceived(5, "", 5, 0)], expected_version=0)
    index.put(event("inventory", "sku", 1, StockReceived(5, "", 5, 0)))
    index.versions["inventory", "sku"] = 1
    assert types(inventory.read("sku")) == [(1, "STOCK_RECEIVED")]
    index.versions["inventory", "sku"] = 2
    with pytest.raises(HistoryBehind):
        inventory.read("sku")


def test_what_is_no_message_or_has_no_aggregate_is_refused(orders: EventStore) -> None:
    for aggregate_id, events in (("o1", [{"type": "ORDER_SHIPPED"}]), ("o1", []), ("", [CREATED])):
        with pytest.raises(WrongEvent):
            orders.append(aggregate_id, events, expected_version=0)
    with pytest.raises(WrongEvent):
        EventStore.of("parcels")


def test_a_whole_topic_is_read_in_order_within_an_aggregate_and_stops_at_a_damaged_record(kafka: str) -> None:
    topic = f"es-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 1})
    for version, body in enumerate((CREATED, OrderConfirmed(), OrderShipped()), start=1):
        key, value, headers = encode_record(event("orders", "o1", version, body), CODEC)
        producer.produce(topic, value, key, headers=headers)
    assert producer.flush(20) == 0
    with EventStore("orders", kafka, None, SomeIndex(), CODEC) as store:
        found = list(store.read_all(topic=topic))
        assert ([version for version, _ in types(found)], [set(event) for event in found]) == (
            [1, 2, 3],
            [ENVELOPE] * 3,
        )
        assert [version for version, _ in types(list(store.read_all("1:2", topic)))] == [2]
        producer.produce(topic, b"\x00\x00\x00\x00\x01cut", b"o1", headers=headers)
        assert producer.flush(20) == 0
        with pytest.raises(DamagedRecord, match=f"{topic}/0/3"):
            list(store.read_all(topic=topic))


def event(aggregatetype: str, subject: str, version: int, body: Any) -> Message:
    type_ = wire_type(type(body))
    return Message(
        Envelope(f"{subject}-{version}", type_, "/t", aggregatetype, subject, version, now(), "c", "c"), body
    )
