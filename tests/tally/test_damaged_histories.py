"""A damaged event refuses its history with place, reason and remedy: over HTTP, to programs and to people.

The damage is real: records of a broker, indexed by the worker's follower and served over its route.
"""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from click.testing import Result
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from starlette.testclient import TestClient
from typer.testing import CliRunner

from producers.api.app import make_app
from producers.api.histories import Histories
from producers.api.owners import Ownership
from producers.api.parts import Parts
from producers.api.reading import Reader
from producers.api.workers import HttpWorkers
from producers.orders.service import OrderService
from producers.store.connections import Pool, open_pool
from producers.store.migrating import migrate
from producers.store.postgres import PostgresEventStore
from producers.store.tables import Roles
from schemas.codec import AvroCodec
from schemas.envelope import now, to_rfc3339
from schemas.errors import Damaged, DamagedRecord
from schemas.messages import OrderConfirmed, OrderCreated, OrderLine, OrderShipped
from schemas.partitioning import partition_of
from schemas.records import encode_record
from schemas.topics import EVENT_TOPICS, ORDERS_EVENTS, PARTITIONS, TOPICS
from streams.histories.following import Follower
from streams.histories.pages import add_histories
from tally.cli.__main__ import app
from tally.cli.failures import CheckFailed
from tally.cli.http_api import failure_of
from tally.event_store import EventStore
from tally.local.databases import PostgresHost
from tally.local.kafka import Kafka
from tally.local.ports import free_ports
from tally.reading.workers import Worker
from tally.reading.workers_index import WorkersIndex

CODEC = AvroCodec()
CREATED = OrderCreated("guest", "GBP", (OrderLine(1, "S", 1, 100),), 100, "card", "tok_ok")
OWNED = set(range(PARTITIONS))
WHOLE = CODEC.encode(CREATED)
DAMAGE: dict[str, tuple[bytes | None, str]] = {
    "unknown-id": (b"\x00\x00\x00\x00\x07" + WHOLE[5:], "schema id 7"),
    "cut": (WHOLE[:-1], ""),
    "over-long": (WHOLE + b"\x00", ""),
    "of-another-type": (CODEC.encode(OrderShipped()), "ORDER_SHIPPED"),
    "empty": (None, ""),
}
kinds = pytest.mark.parametrize("kind", DAMAGE)


@dataclass
class Owner:
    """One worker owns everything."""

    address: str

    async def find(self, *, anew: bool = False) -> Ownership:
        return Ownership(dict.fromkeys(range(PARTITIONS), self.address), (self.address,))


class NoCopies:
    async def find(self, table: str, key: str, version: int | None) -> None:
        return None


@dataclass
class Damage:
    """A system in which the first event of each of `orders` (by kind of damage) is damaged in Kafka."""

    kafka: str
    store: EventStore
    http: TestClient
    pool: Pool
    orders: dict[str, str]
    offsets: dict[str, int]

    def place(self, kind: str) -> tuple[str, int, int]:
        return ORDERS_EVENTS, partition_of(self.orders[kind].encode(), PARTITIONS), self.offsets[kind]

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={"TALLY_KAFKA_BOOTSTRAP": self.kafka})


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Kafka of this file's own: whoever reads whole topics elsewhere would meet the damage."""
    server = Kafka(tmp_path_factory.mktemp("kafka"))
    try:
        server.start()
        admin = AdminClient({"bootstrap.servers": server.bootstrap})
        topics = [NewTopic(name, PARTITIONS, 1, config=TOPICS[name].config) for name in EVENT_TOPICS]
        for made in admin.create_topics(topics).values():
            made.result(30)
        yield server.bootstrap
    finally:
        server.stop()


@pytest.fixture(scope="module")
def pool(postgres: PostgresHost) -> Iterator[Pool]:
    name = f"orders_{uuid.uuid4().hex[:10]}"
    made = postgres.create_service(name, lambda role: f"secret-of-{role}")
    migrate("orders", made.owner_url, Roles(name, f"{name}_connector"))
    pool = open_pool(made.owner_url, "damage")
    yield pool
    pool.close()
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def damage(broker: str, pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Damage]:
    orders = {kind: f"{kind}-{uuid.uuid4().hex[:8]}" for kind in DAMAGE}
    writing = EventStore("orders", broker, pool)
    for order_id in orders.values():
        writing.append(order_id, [CREATED, OrderConfirmed()], expected_version=0)
    offsets = _publish_damaged(broker, PostgresEventStore(pool, CODEC), orders)
    with pool.connection() as connection:
        connection.execute("delete from outbox")  # as the connector cleans up what Kafka has
    with _worker(broker, tmp_path_factory.mktemp("index"), len(orders)) as address:
        index = WorkersIndex(broker, lambda _: [Worker(0, f"http://{address}", ())])
        service, workers = OrderService(PostgresEventStore(pool, CODEC)), HttpWorkers()
        reader: Any = Reader(Owner(address), workers, NoCopies())
        nothing: Any = None
        histories = Histories(reader, service, CODEC)
        parts = Parts(service, lambda _: None, reader, nothing, {}, histories, nothing, nothing)
        store = EventStore("orders", broker, pool, index)
        with TestClient(make_app(parts), raise_server_exceptions=False) as client:
            yield Damage(broker, store, client, pool, orders, offsets)
            assert client.portal is not None
            client.portal.call(workers.aclose)
        index.close()


def _publish_damaged(broker: str, store: PostgresEventStore, orders: dict[str, str]) -> dict[str, int]:
    """Offsets of the damaged records by kind; the second event of each order is whole."""
    producer, offsets = Producer({"bootstrap.servers": broker, "partitioner": "murmur2_random"}), dict[str, int]()
    for kind, order_id in orders.items():
        for message in store.read("orders", order_id):
            key, value, headers = encode_record(message, CODEC)
            is_first = message.envelope.version == 1

            def delivered(_: Any, record: Any, kind: str = kind, is_first: bool = is_first) -> None:
                if is_first:
                    offsets[kind] = record.offset()

            sent = DAMAGE[kind][0] if is_first else value
            producer.produce(ORDERS_EVENTS, sent, key, headers=headers, on_delivery=delivered)
    assert producer.flush(20) == 0
    return offsets


@contextmanager
def _worker(broker: str, folder: Path, orders: int) -> Iterator[str]:
    """`host:port` where the index of the broker's histories is served, once it has all of them."""
    follower, served, (port,) = Follower(broker, folder, lambda: OWNED), web.Application(), free_ports(1)
    add_histories(served, lambda: follower.index, lambda: OWNED)
    runner, loop = web.AppRunner(served), asyncio.new_event_loop()
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", port).start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    follower.start()
    try:
        looks = iter(range(600))
        while _indexed(f"127.0.0.1:{port}") != 2 * orders:
            threading.Event().wait(0.05)
            assert next(looks, None) is not None
        yield f"127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(runner.cleanup())
        loop.close()
        follower.stop()


def _indexed(address: str) -> int:
    answer = httpx.get(f"http://{address}/histories-sums/orders")
    return sum(events for _, events, _ in answer.json()["sums"].values()) if answer.status_code == 200 else 0


@kinds
@pytest.mark.parametrize("asked", ["/events", "?version=2", "?at=now"])
def test_http_answers_with_place_reason_and_remedy(damage: Damage, kind: str, asked: str) -> None:
    past = asked.replace("now", to_rfc3339(now()))
    answer = damage.http.get(f"/orders/{damage.orders[kind]}{past}")
    topic, partition, offset = damage.place(kind)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "Retry-After" not in answer.headers
    assert (problem["type"], problem["title"], problem["status"]) == ("event-damaged", "Damaged", 500)
    assert (problem["topic"], problem["partition"], problem["offset"]) == (topic, partition, offset)
    assert DAMAGE[kind][1] in problem["reason"]
    assert f"`tally consume {topic} -p {partition} -o {offset} -n 1`" in problem["remedy"]
    assert "`tally fsck`" in problem["remedy"]
    assert problem["detail"].startswith(f"{topic}/{partition}/{offset} cannot be read: {problem['reason']}")


@kinds
def test_the_event_store_raises_the_same_over_http_and_in_process(damage: Damage, kind: str) -> None:
    with pytest.raises(DamagedRecord) as over_http:
        damage.store.read(damage.orders[kind])
    raised = over_http.value
    assert (raised.topic, raised.partition, raised.offset) == damage.place(kind)
    assert DAMAGE[kind][1] in raised.reason
    with pytest.raises(DamagedRecord) as in_process:
        list(damage.store.read_all())
    first = in_process.value
    assert (first.topic, first.partition, first.offset) in [damage.place(each) for each in DAMAGE]
    assert first.remedy.endswith("`tally fsck` what else is wrong")


@kinds
def test_verbs_that_ask_the_api_say_it_in_one_line_with_exit_code_5(damage: Damage, kind: str) -> None:
    failure = failure_of(damage.http.get(f"/orders/{damage.orders[kind]}/events"))
    topic, partition, offset = damage.place(kind)
    assert isinstance(failure, CheckFailed)
    assert str(failure).startswith(f"{topic}/{partition}/{offset} cannot be read: ")
    assert "\n" not in str(failure)


@kinds
def test_consume_shows_the_damage_and_ends_with_exit_code_5(damage: Damage, kind: str) -> None:
    topic, partition, offset = damage.place(kind)
    result = damage.run("consume", ORDERS_EVENTS, "-k", damage.orders[kind], "-e", "-f", "json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["version"], row["offset"], "undecodable" in row) for row in rows] == [
        (1, offset, True),
        (2, offset + 1, False),
    ]
    _, said = result.stderr.splitlines()
    assert (result.exit_code, said.startswith(f"{topic}/{partition}/{offset} cannot be read: ")) == (5, True)


def test_consume_counts_what_is_damaged_and_names_the_first(damage: Damage) -> None:
    result = damage.run("consume", ORDERS_EVENTS, "-e", "-f", "table")
    (said,) = result.stderr.splitlines()
    assert (result.exit_code, said.startswith(f"{len(DAMAGE)} events cannot be read; the first: orders.events/")) == (
        5,
        True,
    )
    assert result.stdout.count("UNDECODABLE") == len(DAMAGE)


@kinds
def test_replay_names_the_damage_and_ends_with_exit_code_5(damage: Damage, kind: str) -> None:
    topic, partition, offset = damage.place(kind)
    result = damage.run("replay", "run", ORDERS_EVENTS, "--key", damage.orders[kind], "-f", "json")
    assert result.exit_code == 5
    assert f"FAULT {topic}/{partition}/{offset}: " in result.stderr
    assert [json.loads(line)["version"] for line in result.stdout.splitlines()] == [2]


def test_fsck_finds_all_of_them_at_the_places_that_readers_name(damage: Damage) -> None:
    result = damage.run("fsck", "--no-databases", "--no-tables", "-f", "json")
    found = [each for each in json.loads(result.stdout)["findings"] if each["check"] == "records-are-readable"]
    places = {"/".join(map(str, damage.place(kind))) for kind in DAMAGE}
    assert (result.exit_code, {each["place"] for each in found}, len(found)) == (5, places, len(DAMAGE))


def test_an_outbox_row_that_cannot_be_read_is_named_too(damage: Damage) -> None:
    order_id = f"o-{uuid.uuid4().hex[:8]}"
    damage.store.append(order_id, [CREATED], expected_version=0)
    with damage.pool.connection() as connection:
        row = connection.execute(
            "update outbox set payload = %s where aggregateid = %s returning id::text", (WHOLE[:-1], order_id)
        ).fetchone()
    assert row is not None
    with pytest.raises(Damaged, match=f"outbox row {row[0]} cannot be read: .*; `tally fsck`"):
        damage.store.read(order_id)
    problem = damage.http.get(f"/orders/{order_id}/events").json()
    assert (problem["type"], problem["place"]) == ("event-damaged", f"outbox row {row[0]}")
