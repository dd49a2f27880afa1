"""Blue/green rebuilds by real workers on a real Kafka, asked for by the verbs that people type."""

from __future__ import annotations

import itertools
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import OrderCancelled, OrderCreated, OrderLine, StockReceived, wire_type
from schemas.partitioning import partition_of
from schemas.topics import AUDIT_TRAIL, INVENTORY_EVENTS, ORDERS_EVENTS, PARTITIONS
from streams.rebuilds.inputs import PIECE_BYTES_MAX
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


def _row(worker: Any, table: str, key: str, version: int) -> dict[str, Any]:
    answer = worker.get(f"/tables/{table}/{key}", version=version, wait_ms=20_000)
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()["value"]
    return row


def _topics(kafka: str) -> set[str]:
    return set(AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics)


def test_a_rekeyed_table_is_built_from_its_topic_equal_and_promoted(
    start: Callable[..., Any],
    verb: Callable[..., Any],
    log: Any,
    events: Events,
    until: Callable[..., Any],
    unique: str,
) -> None:
    worker = start().wait_alone()
    for n in range(40):
        events.order(f"{unique}-{n}", f"customer-{n % 5} {unique}")
    log.flush()
    prefix = f"customer-1 {unique}\x1f"

    def listed() -> list[str]:
        page = worker.get("/tables/orders_by_customer", prefix=prefix).json()
        return [item["value"]["id"] for item in page["items"]]

    until(lambda: len(listed()) == 8, "all are listed")
    built = verb("build", "orders_by_customer", "--wait")
    assert built == {"table": "orders_by_customer", "building": 2}
    # In step: what comes now is in both at once.
    events.order(f"{unique}-more", f"customer-1 {unique}")
    log.flush()
    until(lambda: len(listed()) == 9, "the new one is listed")
    compared = verb("diff", "orders_by_customer")
    assert [each["differ"] for each in compared["partitions"]] == [0] * 4
    assert sum(each["built"] for each in compared["partitions"]) == 41
    assert verb("promote", "orders_by_customer") == {"table": "orders_by_customer", "served": 2}
    assert len(listed()) == 9
    events.order(f"{unique}-last", f"customer-1 {unique}")
    log.flush()
    until(lambda: len(listed()) == 10, "the promoted version goes on")
    assert verb("builds") == []
    assert until(lambda: worker.get("/tables/rebuilds").json()["items"] == [], "its progress is forgotten")


def test_what_a_new_fold_cannot_take_is_its_fault_alone(
    start: Callable[..., Any], verb: Callable[..., Any], log: Any, events: Events, unique: str
) -> None:
    worker = start().wait_alone()
    events.order(f"{unique}-a", "unforeseen")
    events.order(f"{unique}-b", "unwritable")
    log.flush()
    for order in ("a", "b"):
        _row(worker, "orders", f"{unique}-{order}", 1)
    verb("build", "orders", "--wait")
    told = worker.get("/rebuilds").json()
    assert told["served"]["orders"] == 1
    assert sum(row["faults"] for row in told["builds"]) == 2
    last = " ".join(row["last_fault"] or "" for row in told["builds"])
    assert "nobody thought" in last or "no JSON" in last
    verb("promote", "orders", expect=5)
    verb("discard", "orders")


def test_rows_of_a_new_fold_that_differ_are_shown_and_it_is_discarded_or_promoted(
    start: Callable[..., Any], verb: Callable[..., Any], kafka: str, log: Any, events: Events, unique: str
) -> None:
    worker = start().wait_alone()
    events.order(f"{unique}-1", "somebody", lines=3)
    log.flush()
    before = _row(worker, "orders", f"{unique}-1", 1)
    number = verb("build", "orders", "--wait")["building"]
    assert f"tally-orders-v{number}-changelog" in _topics(kafka)
    verb("build", "orders", expect=5)
    compared = verb("diff", "orders", "-n", "1000", expect=5)
    shown = {row["key"]: row for row in compared["rows"]}[f"{unique}-1"]
    assert shown["served"] == before
    assert shown["built"] == {**before, "line_count": 3}
    assert _row(worker, "orders", f"{unique}-1", 1) == before
    assert verb("discard", "orders", "--reason", "a line too many") == {"table": "orders", "served": 1}
    assert f"tally-orders-v{number}-changelog" not in _topics(kafka)
    verb("discard", "orders", expect=5)
    verb("diff", "orders", expect=3)
    # A number never comes twice.
    assert verb("build", "orders", "--wait")["building"] == number + 1
    # The orders that its fold cannot take are still in the topic.
    verb("promote", "orders", "--despite-faults", "--reason", "customers ask for it")
    acts = [m.body for _, m in log.read(AUDIT_TRAIL) if m.envelope.subject == "orders" and m.body.version >= number]
    assert [(body.act, body.version, body.by, body.reason) for body in acts] == [
        ("BUILD", number, getuser(), ""),
        ("DISCARD", number, getuser(), "a line too many"),
        ("BUILD", number + 1, getuser(), ""),
        ("PROMOTE", number + 1, getuser(), "customers ask for it"),
    ]
    assert _row(worker, "orders", f"{unique}-1", 1)["line_count"] == 3
    version = events.append(ORDERS_EVENTS, f"{unique}-1", OrderCancelled("changed my mind"))
    log.flush()
    row = _row(worker, "orders", f"{unique}-1", version)
    assert (row["status"], row["line_count"]) == ("CANCELLED", 3)
    assert worker.stop() == 0
    # What is served after a restart is what the topic says.
    worker = start().wait_alone()
    assert _row(worker, "orders", f"{unique}-1", version) == row
    assert worker.get("/rebuilds").json()["served"]["orders"] == number + 1


def test_a_build_goes_on_after_kill_9_and_folds_each_event_once(
    start: Callable[..., Any],
    verb: Callable[..., Any],
    log: Any,
    events: Events,
    until: Callable[..., Any],
    unique: str,
) -> None:
    worker = start().wait_alone()
    for n in range(1, 101):
        for sku in range(100):
            events.receive(f"{unique}-{sku}", n)
    events.receive("bomb", 1)
    for n in range(101, 131):
        for sku in range(100):
            events.receive(f"{unique}-{sku}", n)
    log.flush()
    for sku in range(100):
        _row(worker, "stock", f"{unique}-{sku}", 130)
    verb("build", "stock")
    worker.process.wait(30)
    worker = start()
    until(worker.is_up, "it answers again")
    answers = set()

    def is_in_step() -> bool:
        answers.add(worker.get(f"/tables/stock/{unique}-1").json().get("value", {}).get("on_hand", 130))
        rows = worker.get("/rebuilds").json().get("builds", [])
        return len(rows) == 4 and all(row["in_step"] for row in rows)

    until(is_in_step, "the build is in step")
    # Whoever asked meanwhile saw the served version.
    assert answers == {130}

    def totals() -> tuple[int, int]:
        rows = worker.get("/rebuilds").json()["builds"]
        return sum(row["events"] for row in rows), sum(row["faults"] for row in rows)

    # The sagas of earlier orders wrote a few events beside.
    written = sum(1 for _ in log.read(INVENTORY_EVENTS))
    assert written >= 13_001
    until(lambda: totals() == (written, 0), "each event was folded once")
    compared = verb("diff", "stock")
    assert sum(each["built"] for each in compared["partitions"]) >= 101
    verb("discard", "stock")


def test_two_workers_build_their_partitions_and_promote_together(
    start: Callable[..., Any],
    verb: Callable[..., Any],
    log: Any,
    events: Events,
    until: Callable[..., Any],
    unique: str,
) -> None:
    first = start().wait_alone()
    for sku in range(40):
        events.receive(f"{unique}-{sku}", 1)
    log.flush()
    for sku in range(40):
        _row(first, "stock", f"{unique}-{sku}", 1)
    version = verb("build", "stock", "--wait")["building"]
    second = start(1)

    def shared() -> bool:
        told = [worker.get("/rebuilds") for worker in (first, second) if worker.is_up()]
        rows = [row for each in told if each.status_code == 200 for row in each.json()["builds"]]
        return len(told) == 2 and len({row["worker"] for row in rows if row["in_step"]}) == 2 and len(rows) == 4

    until(shared, "both have partitions, all in step")
    for sku in range(40):
        events.receive(f"{unique}-{sku}", 2)
    log.flush()
    compared = verb("diff", "stock")
    assert {each["worker"] for each in compared["partitions"]} == {"worker-0", "worker-1"}
    verb("promote", "stock")
    assert {worker.get("/rebuilds").json()["served"]["stock"] for worker in (first, second)} == {version}


def test_a_build_whose_partitions_go_to_another_worker_in_its_middle_goes_on_there(
    start: Callable[..., Any],
    verb: Callable[..., Any],
    folder: Path,
    log: Any,
    events: Events,
    until: Callable[..., Any],
    unique: str,
) -> None:
    first = start().wait_alone()
    # More bytes of each partition than a piece takes, then its gate, then more events of the same rows.
    skus: dict[int, list[str]] = {number: [] for number in range(PARTITIONS)}
    for n in range(400):
        skus[partition_of(f"{unique}-{n}".encode(), PARTITIONS)].append(f"{unique}-{n}")
    large = "x" * (PIECE_BYTES_MAX // 32)
    for sku in itertools.chain(*(of[:40] for of in skus.values())):
        events.append(INVENTORY_EVENTS, sku, StockReceived(1, large, 1, 0))
    gates = {partition_of(f"gate-{unique}-{n}".encode(), PARTITIONS): f"gate-{unique}-{n}" for n in range(40)}
    assert len(gates) == PARTITIONS
    for sku in gates.values():
        events.receive(sku, 1)
    for sku in itertools.chain(*skus.values()):
        events.receive(sku, 2)
    log.flush()
    for of in skus.values():
        _row(first, "stock", of[-1], 1)
        _row(first, "stock", of[0], 2)
    os.mkfifo(folder / "gate")
    verb("build", "stock")

    def begun(worker: Any, partitions: int) -> bool:
        rows = worker.get("/rebuilds").json().get("builds", []) if worker.is_up() else []
        assert not any(row["in_step"] for row in rows)
        return len(rows) == partitions and all(0 < row["next_offset"] < row["live_offset"] for row in rows)

    until(lambda: begun(first, 4), "a part of each partition is committed")
    second = start(1)
    until(lambda: begun(first, 2) and begun(second, 2), "the second worker has two of them in mid-build")
    first.kill()
    until(lambda: begun(second, 4), "the second worker has all of them in mid-build")
    with (folder / "gate").open("wb"):
        until(lambda: all(row["in_step"] for row in second.get("/rebuilds").json()["builds"]), "all are in step")
    (folder / "gate").unlink()
    rows = second.get("/rebuilds").json()["builds"]
    written = sum(1 for _ in log.read(INVENTORY_EVENTS))
    assert (len(rows), sum(row["events"] for row in rows), sum(row["faults"] for row in rows)) == (4, written, 0)
    # Fails where a row differs.
    compared = verb("diff", "stock")
    assert sum(each["built"] for each in compared["partitions"]) == sum(
        each["served"] for each in compared["partitions"]
    )
    verb("discard", "stock")
