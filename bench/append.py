"""Appends with an expected version: the event store against pyeventsourcing on the same PostgreSQL, 1 and 8 writers.

`python -m bench.append [--events N] [--rounds N]`
Each writer is a process with aggregates of its own; every append is one event and one commit that waits for the disk.
Both sides check the version: ours by the head row, pyeventsourcing by its primary key and its table lock.
Ours also writes the snapshot and an outbox row that a connector carries to Kafka; `commands` is what the orders service
does for a request: ours with a decision, an id that counts once and an answer that is kept. A writer has one connection.
Both sides keep the aggregate that they just wrote to in memory; `commands` loads it, as any process may have the next one.
Ratios first: the machine decides the rest. "peer absent" where the package `eventsourcing` is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg

from producers.orders.aggregate import ORDERS
from producers.store.connections import PoolSize, open_pool
from producers.store.deciding import handle_with_retries
from producers.store.migrating import migrate
from producers.store.port import OUTCOME_DONE
from producers.store.postgres import PostgresEventStore
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import (
    ConfirmOrder,
    CreateOrder,
    LineToReturn,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    ReturnOrderLines,
    ShipOrder,
    wire_type,
)
from tally.event_store import EventStore
from tally.local.databases import ServiceDatabase
from tally.local.postgres import Postgres

WRITERS = (1, 8)
# A history's length, after which a writer begins the next aggregate.
EVENTS_AN_AGGREGATE = 10
LINES = (OrderLine(1, "85123A", 60, 255),)
CREATED = OrderCreated("guest", "GBP", LINES, 15300, "card", "tok_ok")
# From the last on a unit comes back each time.
COMMANDS = (
    CreateOrder("guest", "GBP", LINES, "card", "tok_ok"),
    ConfirmOrder(),
    ShipOrder(),
    ReturnOrderLines((LineToReturn(1, 1),)),
)
NO_KAFKA = "127.0.0.1:9"
Write = Callable[[int], None]


def ours(url: str) -> tuple[Write, Callable[[], None]]:
    """A writer of event number N, and its end."""
    store = EventStore("orders", NO_KAFKA, open_pool(url, "bench-append", PoolSize(1, 1)))
    at = {"id": ""}

    def write(number: int) -> None:
        version = number % EVENTS_AN_AGGREGATE
        if version == 0:
            at["id"] = new_id()
        store.append(at["id"], [OrderConfirmed() if version else CREATED], expected_version=version)

    return write, store.close


def commands(url: str) -> tuple[Write, Callable[[], None]]:
    """What the orders service does for each request: a command with an id, decided on the head, with its answer kept."""
    pool = open_pool(url, "bench-commands", PoolSize(1, 1))
    store, at = PostgresEventStore(pool, AvroCodec()), {"id": ""}

    def write(number: int) -> None:
        version = number % EVENTS_AN_AGGREGATE
        if version == 0:
            at["id"] = new_id()
        id_, body, clock = new_id(), COMMANDS[min(version, len(COMMANDS) - 1)], now()
        envelope = Envelope(id_, wire_type(type(body)), "/bench", "orders", at["id"], None, clock, id_, id_)
        answer = handle_with_retries(store, ORDERS, Message(envelope, body), clock)
        assert answer is not None
        assert answer.outcome == OUTCOME_DONE

    return write, pool.close


def theirs(url: str) -> tuple[Write, Callable[[], None]]:
    """The same by pyeventsourcing's application."""
    from eventsourcing.application import Application
    from eventsourcing.domain import Aggregate, event

    class Order(Aggregate):
        @event("Created")
        def __init__(self, customer_id: str, total_minor: int, lines: list[list[object]]) -> None:
            self.customer_id, self.total_minor, self.lines = customer_id, total_minor, lines
            self.status = "CREATED"

        @event("Confirmed")
        def confirm(self) -> None:
            self.status = "CONFIRMED"

    parts = urlsplit(url)
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path[1:],
        "POSTGRES_HOST": str(parts.hostname),
        "POSTGRES_PORT": str(parts.port),
        "POSTGRES_USER": str(parts.username),
        "POSTGRES_PASSWORD": unquote(parts.password or ""),
        "POSTGRES_POOL_SIZE": "1",
        "POSTGRES_MAX_OVERFLOW": "1",
    }
    with psycopg.connect(url) as connection:
        # It makes its tables when it begins; two that begin at once fail.
        connection.execute("select pg_advisory_xact_lock(1)")
        application = Application(env=environment)
    at: dict[str, Order] = {}

    def write(number: int) -> None:
        if number % EVENTS_AN_AGGREGATE == 0:
            at["order"] = Order("guest", 15300, [[1, "85123A", 60, 255]])
        else:
            at["order"].confirm()
        application.save(at["order"])

    return write, application.close


SIDES = {"ours": ours, "commands": commands, "pyeventsourcing": theirs}


def work(side: str, url: str, count: int) -> tuple[float, float]:
    """One writer's process: begin and end of its appends, by the clock that all share."""
    write, close = SIDES[side](url)
    for number in range(2 * EVENTS_AN_AGGREGATE):
        write(number)
    began = time.time()
    for number in range(count):
        write(number)
    ended = time.time()
    close()
    return began, ended


def rate(side: str, url: str, writers: int, events: int) -> float:
    """Appends a second of so many writers at once."""
    each = events // writers
    with ProcessPoolExecutor(writers, get_context("spawn")) as processes:
        # Their packages are loaded before any of them begins.
        list(processes.map(time.sleep, [0.0] * writers))
        spans = list(processes.map(work, [side] * writers, [url] * writers, [each] * writers))
    return each * writers / (max(end for _, end in spans) - min(begin for begin, _ in spans))


def main(argv: list[str]) -> int:
    """Prints a table: medians of the rounds, both sides in turn in each."""
    parser = argparse.ArgumentParser(prog="python -m bench.append")
    parser.add_argument("--events", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(argv)
    there = importlib.util.find_spec("eventsourcing") is not None
    sides = [side for side in SIDES if there or side != "pyeventsourcing"]
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder))
        server.start()
        try:
            urls = _databases(server)
            for writers in WRITERS:
                found: dict[str, list[float]] = {side: [] for side in sides}
                for _ in range(given.rounds):
                    for side in sides:
                        found[side].append(rate(side, urls[side], writers, given.events))
                _print(writers, {side: statistics.median(rates) for side, rates in found.items()})
        finally:
            server.stop()
            server.remove_data()
    return 0


def _databases(server: Postgres) -> dict[str, str]:
    database: ServiceDatabase = server.create_services()["orders"]
    migrate("orders", database.owner_url)
    peer = server.host.create_database("peer")
    return {"ours": database.service_url, "commands": database.service_url, "pyeventsourcing": peer}


def _print(writers: int, medians: dict[str, float]) -> None:
    peer = medians.get("pyeventsourcing")
    ratio = "peer absent" if peer is None else f"{medians['ours'] / peer:.2f} times pyeventsourcing"
    rates = ", ".join(f"{side} {value:,.0f}/s" for side, value in medians.items())
    print(f"append, {writers} writer(s): {ratio} ({rates})", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
