"""The API over a real orders database, with workers, copies and Kafka faked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.testclient import TestClient

from producers.api.app import make_app
from producers.api.asked_of_kafka import KafkaSilent
from producers.api.histories import Histories
from producers.api.owners import Ownership
from producers.api.parts import Parts
from producers.api.reading import Reader
from producers.api.workers import NotTheOwner, Page, Unanswered
from producers.orders.service import OrderService
from producers.store.connections import Pool
from producers.store.postgres import PostgresEventStore
from schemas.codec import AvroCodec
from schemas.envelope import Message
from schemas.keys import routing_key
from schemas.partitioning import partition_of


@dataclass
class FakeOwners:
    """Who owns what; `anew` counts how often somebody did not believe it."""

    by_partition: dict[int, str]
    anew: int = 0
    moves_to: dict[int, str] | None = None

    async def find(self, *, anew: bool = False) -> Ownership:
        if anew:
            self.anew += 1
            self.by_partition = self.moves_to or self.by_partition
        return Ownership(self.by_partition, tuple(sorted(set(self.by_partition.values()))))


@dataclass
class FakeWorkers:
    """Rows by worker and table; a row's version is its value's."""

    rows: dict[str, dict[str, dict[str, dict[str, Any]]]] = field(default_factory=dict)
    partitions: dict[str, set[int]] = field(default_factory=dict)
    asked: list[tuple[str, str, str, int | None]] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    before_get: Callable[[], None] = lambda: None
    before_history: Callable[[], None] = lambda: None
    histories: dict[tuple[str, str], dict[int, dict[str, Any]]] = field(default_factory=dict)
    sagas_asked: list[dict[str, str]] = field(default_factory=list)
    histories_asked: list[tuple[str, str, int, int]] = field(default_factory=list)

    def put(self, address: str, table: str, key: str, value: dict[str, Any]) -> None:
        self.rows.setdefault(address, {}).setdefault(table, {})[key] = value

    async def get(
        self, address: str, table: str, key: str, version: int | None = None, wait_ms: int = 0
    ) -> dict[str, Any] | None:
        self.asked.append((address, table, key, version))
        self.before_get()
        if address in self.away:
            raise Unanswered(f"{address} is away")
        partition = partition_of(routing_key(table, key).encode(), 4)
        if address in self.partitions and partition not in self.partitions[address]:
            raise NotTheOwner(address)
        value = self.rows.get(address, {}).get(table, {}).get(key)
        if value is None:
            return None
        if version is not None and value["version"] < version:
            raise Unanswered("the version was not reached")
        return {"key": key, "value": value, "partition": 0, "changelog_offset": 1, "worker": address, "age_ms": 0}

    async def scan(self, address: str, table: str, prefix: str, cursor: str | None, limit: int) -> Page | None:
        if address in self.away:
            raise Unanswered(f"{address} is away")
        rows = sorted((k, v) for k, v in self.rows.get(address, {}).get(table, {}).items() if k.startswith(prefix))
        begin = int(cursor or 0)
        items = [{"key": key, "value": value, "worker": address} for key, value in rows[begin : begin + limit]]
        return Page(items, str(begin + limit) if begin + limit < len(rows) else None)

    async def history(self, address: str, aggregate: tuple[str, str], first: int, last: int) -> list[dict[str, Any]]:
        if address in self.away:
            raise Unanswered(f"{address} is away")
        self.before_history()
        rows = self.histories.get(aggregate, {})
        self.histories_asked.append((*aggregate, first, last))
        return [rows[version] for version in sorted(rows) if first <= version <= last]

    async def sagas(self, address: str, asked: dict[str, str]) -> list[dict[str, Any]]:
        if address in self.away:
            raise Unanswered(f"{address} is away")
        self.sagas_asked.append(asked)
        return list(self.rows.get(address, {}).get("sagas", {}).values())

    async def saga(self, address: str, order_id: str) -> dict[str, Any] | None:
        return self.rows.get(address, {}).get("sagas", {}).get(order_id)

    async def tables(self, address: str) -> Any:
        return [{"name": "orders"}]


@dataclass
class FakeCopies:
    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    async def find(self, table: str, key: str, version: int | None) -> dict[str, Any] | None:
        row = self.rows.get((table, key))
        return row if row is not None and (version is None or row["version"] >= version) else None


@dataclass
class FakeCommands:
    """Keeps what is sent; `agent` may do what the inventory agent would."""

    sent: list[tuple[str, Message]] = field(default_factory=list)
    agent: Callable[[Message], None] = lambda _: None

    async def send(self, topic: str, command: Message) -> None:
        self.sent.append((topic, command))
        self.agent(command)


@dataclass
class FakeLetters:
    """Rows, or None: Kafka does not tell."""

    rows: list[dict[str, Any]] | None = field(default_factory=list)

    def read(self) -> list[dict[str, Any]]:
        if self.rows is None:
            raise KafkaSilent("not in time")
        return self.rows


@dataclass
class FakeTimelines:
    """Messages of every saga, or None: Kafka does not tell."""

    rows: list[dict[str, Any]] | None = field(default_factory=list)

    def read(self, saga: dict[str, Any]) -> list[dict[str, Any]]:
        if self.rows is None:
            raise KafkaSilent("not in time")
        return [{**row, "order_id": saga["order_id"]} for row in self.rows]


ONE_WORKER = dict.fromkeys(range(4), "w0:1")


@dataclass
class Api:
    """The API and the fakes behind it."""

    client: TestClient
    pool: Pool
    owners: FakeOwners
    workers: FakeWorkers
    copies: FakeCopies
    commands: FakeCommands
    letters: FakeLetters
    timelines: FakeTimelines
    keys: int = 0

    def order(self, **changes: Any) -> dict[str, Any]:
        """A good body, with changes."""
        body = {
            "customer_id": "guest",
            "currency": "GBP",
            "lines": [{"sku": "85123A", "quantity": 6, "unit_price_minor": 255}],
            "payment": {"method": "card", "reference": "tok_ok"},
        }
        return {**body, **changes}

    def fresh_key(self) -> dict[str, str]:
        """Headers with an Idempotency-Key of its own."""
        self.keys += 1
        return {"Idempotency-Key": f"key-{self.keys}"}

    def place(self, **changes: Any) -> Any:
        """POST /orders."""
        return self.client.post("/orders", json=self.order(**changes), headers=self.fresh_key())

    def written(self) -> int:
        """How many rows the orders database holds by now."""
        with self.pool.connection() as connection:
            counted = connection.execute(
                "select (select count(*) from heads) + (select count(*) from outbox) + (select count(*) from commands)"
            ).fetchone()
        assert counted is not None
        return int(counted[0])


@pytest.fixture
def api(orders_pool: Pool) -> Iterator[Api]:
    owners, workers, copies, commands = FakeOwners(dict(ONE_WORKER)), FakeWorkers(), FakeCopies(), FakeCommands()
    orders = OrderService(PostgresEventStore(orders_pool, AvroCodec()))
    reader = Reader(owners, workers, copies)
    letters, timelines = FakeLetters(), FakeTimelines()
    histories = Histories(reader, orders, AvroCodec())
    parts = Parts(orders, lambda _: None, reader, commands, {}, histories, letters, timelines)
    with TestClient(make_app(parts), raise_server_exceptions=False) as client:
        yield Api(client, orders_pool, owners, workers, copies, commands, letters, timelines)
