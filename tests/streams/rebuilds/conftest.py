"""Workers that take part in rebuilds on a Kafka of their module's own, histories for them, and the verbs of `tally replay`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import OrderCreated, OrderLine, StockReceived, wire_type
from schemas.topics import INVENTORY_EVENTS, ORDERS_EVENTS
from tally.cli.__main__ import app
from tally.local.ports import free_ports

SCRIPT = Path(__file__).with_name("changed_worker.py")


@pytest.fixture(scope="module")
def kafka(new_kafka: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """Of our own: what is promoted here is served by every worker."""
    with new_kafka() as bootstrap:
        yield bootstrap


@pytest.fixture(scope="module")
def log(kafka: str, log_class: type) -> Any:
    return log_class(kafka)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rebuilds")


@pytest.fixture(scope="module")
def ports() -> list[int]:
    """Of each worker's slot: Kafka goes on naming a static member that is back by its former address."""
    return free_ports(2)


@pytest.fixture
def start(kafka: str, folder: Path, worker_class: type, ports: list[int]) -> Iterator[Callable[..., Any]]:
    """Starts workers that share a data directory; all of them end with the test."""
    started = []

    def one(index: int = 0) -> Any:
        log_file = folder / f"worker-{index}-{uuid.uuid4().hex[:6]}.log"
        worker = worker_class(kafka, index, log_file, SCRIPT, ports[index])
        started.append(worker)
        return worker

    yield one
    for worker in started:
        worker.stop()


@pytest.fixture
def verb(kafka: str, tmp_path: Path) -> Callable[..., Any]:
    """`tally replay …`: what it prints as JSON; fails where the exit code is another than `expect`."""

    def run(*arguments: str, expect: int = 0) -> Any:
        environment = {"TALLY_KAFKA_BOOTSTRAP": kafka, "TALLY_DATA_DIR": str(tmp_path)}
        done: Result = CliRunner().invoke(app, ["replay", *arguments, "-f", "json"], env=environment)
        assert done.exit_code == expect, (arguments, done.output, done.exception)
        return json.loads(done.stdout) if done.stdout else done.stderr

    return run


class Events:
    """Histories, appended event by event."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._versions: dict[str, int] = {}

    def append(self, topic: str, id_: str, body: Any) -> int:
        version = self._versions[id_] = self._versions.get(id_, 0) + 1
        kind, cause = topic.removesuffix(".events"), new_id()
        envelope = Envelope(cause, wire_type(type(body)), f"/tally/{kind}", kind, id_, version, now(), cause, cause)
        self._log.send(topic, Message(envelope, body))
        return version

    def order(self, id_: str, customer: str, lines: int = 1) -> int:
        parts = tuple(OrderLine(n, "sku", 1, 100) for n in range(1, lines + 1))
        created = OrderCreated(customer, "GBP", parts, 100 * lines, "card", "tok_ok")
        return self.append(ORDERS_EVENTS, id_, created)

    def receive(self, sku: str, on_hand: int) -> int:
        return self.append(INVENTORY_EVENTS, sku, StockReceived(1, None, on_hand, 0))


@pytest.fixture(scope="module")
def events(log: Any) -> Events:
    return Events(log)


@pytest.fixture
def unique() -> str:
    return uuid.uuid4().hex[:8]


@pytest.fixture
def row_of(until: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """A worker's row of a table and key, once it has reached a version."""

    def reached(worker: Any, table: str, key: str, version: int) -> dict[str, Any]:
        def asked() -> Any:
            answer = worker.get(f"/tables/{table}/{key}", version=version, wait_ms=20_000)
            return answer.json() if answer.status_code == 200 else None

        found: dict[str, Any] = until(asked, f"{key} of {table} at version {version}")["value"]
        return found

    return reached
