"""For the worker's tests: a Kafka of its own (its topics, group and tables have fixed names), and the other services."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka import Message as ConsumerRecord
from confluent_kafka.admin import AdminClient, NewTopic
from settled import is_settled

from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, derive_id, new_id, now
from schemas.errors import Undecodable
from schemas.messages import (
    AuthorisePayment,
    CapturePayment,
    CommandAnswered,
    ConfirmOrder,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    OrderRejected,
    RejectOrder,
    wire_type,
)
from schemas.records import decode_record, encode_record
from schemas.topics import (
    INVENTORY_COMMANDS,
    ORDERS_COMMANDS,
    ORDERS_EVENTS,
    PAYMENTS_COMMANDS,
    SAGAS_REPLIES,
    TOPICS,
)
from tally.local.kafka import Kafka
from tally.local.ports import free_ports

CODEC = AvroCodec()
WITHIN_S = 60.0
READY_WITHIN_S = 60.0


@pytest.fixture(scope="session")
def tally_kafka(new_kafka: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """Bootstrap address of a Kafka that has all of Tally's topics."""
    with new_kafka() as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def new_kafka(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], AbstractContextManager[str]]:
    """Starts a further one, for tests that change what all workers serve."""

    @contextlib.contextmanager
    def started() -> Iterator[str]:
        server = Kafka(tmp_path_factory.mktemp("tally-kafka"))
        try:
            server.start()
            create_topics(server.bootstrap)
            yield server.bootstrap
        finally:
            server.stop()

    return started


@pytest.fixture(scope="session")
def log_class() -> type[Log]:
    return Log


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    return eventually


@pytest.fixture(scope="session")
def log(tally_kafka: str) -> Log:
    return Log(tally_kafka)


@pytest.fixture(scope="session")
def worker_class() -> type[WorkerProcess]:
    return WorkerProcess


@pytest.fixture
def services(log: Log) -> Iterator[Services]:
    """The orders and payments services, made up, for as long as the test runs."""
    running = Services(log)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def start_worker(tally_kafka: str, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts worker processes; all of them end with the test."""
    started: list[WorkerProcess] = []

    def start(index: int = 0, script: Path | None = None) -> WorkerProcess:
        worker = WorkerProcess(tally_kafka, index, tmp_path / f"worker-{index}-{len(started)}.log", script)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def create_topics(bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = [
        NewTopic(topic.name, num_partitions=topic.partitions, replication_factor=1, config=topic.config)
        for topic in TOPICS.values()
    ]
    for created in admin.create_topics(topics).values():
        created.result(timeout=30)


def eventually(is_so: Callable[[], Any], what: str, within_s: float = WITHIN_S) -> Any:
    """Asks until the answer is true; AssertionError after the bound."""
    end = time.monotonic() + within_s
    while not (answer := is_so()):
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        threading.Event().wait(0.02)
    return answer


class WorkerProcess:
    """A worker as the supervisor starts it."""

    def __init__(
        self, bootstrap: str, index: int, log_file: Path, script: Path | None = None, port: int | None = None
    ) -> None:
        self.port = free_ports(1)[0] if port is None else port
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=90)
        self.log_file = log_file
        command = [sys.executable, "-m", "streams", "--index", str(index), "--port", str(self.port)]
        if script is not None:
            command = [sys.executable, str(script), str(index), str(self.port)]
        with log_file.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, "TALLY_KAFKA_BOOTSTRAP": bootstrap, "TALLY_DATA_DIR": str(log_file.parent)},
                stdout=out,
                stderr=out,
            )

    def get(self, path: str, **params: Any) -> httpx.Response:
        return self.http.get(path, params=params)

    def row(self, table: str, key: str) -> dict[str, Any] | None:
        answer = self.http.get(f"/tables/{table}/{key}")
        return answer.json()["value"] if answer.status_code == 200 else None

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log_file.read_text()
        try:
            return self.http.get("/livez").status_code == 200
        except httpx.TransportError:
            return False

    def wait_ready(self) -> WorkerProcess:
        eventually(self.is_up, "the worker answers", READY_WITHIN_S)
        eventually(lambda: self.get("/readyz").status_code == 200, "the worker is ready", READY_WITHIN_S)
        return self

    def wait_alone(self) -> WorkerProcess:
        """Until it owns all partitions: those of a worker that left stay its own for a session time-out."""
        self.wait_ready()
        eventually(lambda: self.get("/tables").json()[0]["partitions"] == [0, 1, 2, 3], "it owns all", READY_WITHIN_S)
        return self

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.http.close()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(timeout=60)
        self.http.close()
        return code


class Log:
    """Kafka as people and services use it: messages in, committed messages out."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self.producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 2,
            }
        )

    def send(self, topic: str, message: Message) -> None:
        key, value, headers = encode_record(message, CODEC)
        self.send_raw(topic, key, value, headers)

    def send_raw(self, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        while True:
            try:
                self.producer.produce(topic, value, key, headers=headers)
                self.producer.poll(0)
                return
            except BufferError:
                self.producer.poll(0.1)

    def command(self, body: Any, sku: str, id_: str | None = None) -> str:
        """A person's command to inventory; gives its id."""
        id_ = id_ or new_id()
        type_ = wire_type(type(body))
        self.send(
            INVENTORY_COMMANDS,
            Message(Envelope(id_, type_, "/tally/api", "inventory", sku, None, now(), id_, id_), body),
        )
        return id_

    def flush(self) -> None:
        assert self.producer.flush(30) == 0

    def read(self, *topics: str) -> list[tuple[str, Message]]:
        """All committed messages of topics as they are now, in order within each partition."""
        found = []
        for record in self._read(topics):
            with contextlib.suppress(Undecodable):
                found.append((record.topic() or "", decode_record(record.headers(), record.value(), CODEC)))
        return found

    def read_raw(self, topic: str) -> list[tuple[str, bytes | None]]:
        """Keys and values of all committed records."""
        return [((record.key() or b"").decode(), record.value()) for record in self._read((topic,))]

    def _read(self, topics: tuple[str, ...]) -> Iterator[ConsumerRecord]:
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": f"test-{new_id()}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
            }
        )
        places = [TopicPartition(topic, p, 0) for topic in topics for p in range(TOPICS[topic].partitions)]
        try:
            consumer.assign(places)
            left = {(place.topic, place.partition) for place in places}
            eventually(lambda: is_settled(self._admin, *topics), f"no transaction is open in {topics}")
            while left:
                first = consumer.poll(1.0)
                for record in [] if first is None else [first, *consumer.consume(1000, 0)]:
                    if record.error():
                        left.discard((record.topic(), record.partition()))
                        continue
                    yield record
        finally:
            consumer.close()


class Services(threading.Thread):
    """Orders and payments: they answer every command, a repeated one from memory. `decline`, `dispute`, `silent`: payments of these orders."""

    def __init__(self, log: Log) -> None:
        super().__init__(daemon=True)
        self.log = log
        self.status: dict[str, tuple[str, int]] = {}
        self.answers: dict[str, CommandAnswered] = {}
        self.decline: set[str] = set()
        self.dispute: set[str] = set()
        self.silent: set[str] = set()
        self.payments: dict[str, str] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def place(self, order_id: str, lines: list[tuple[str, int]], customer_id: str = "guest") -> None:
        parts = tuple(OrderLine(n, sku, quantity, 100) for n, (sku, quantity) in enumerate(lines, 1))
        total = sum(quantity * 100 for _, quantity in lines)
        self.append(order_id, OrderCreated(customer_id, "GBP", parts, total, "card", "tok_ok"), "CREATED")

    def append(self, order_id: str, body: Any, status: str) -> None:
        with self._lock:
            version = self.status.get(order_id, ("", 0))[1] + 1
            self.status[order_id] = (status, version)
            id_ = derive_id("order", order_id, version)
            source, type_ = "/tally/orders", wire_type(type(body))
            envelope = Envelope(id_, type_, source, "orders", order_id, version, now(), f"affair {order_id}", id_)
            self.log.send(ORDERS_EVENTS, Message(envelope, body))

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self.log.bootstrap,
                "group.id": f"services-{new_id()}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 10,
            }
        )
        # What other tests left is read and passed over: each knows its own orders.
        consumer.subscribe([ORDERS_COMMANDS, PAYMENTS_COMMANDS])
        while not self._ended.is_set():
            for record in consumer.consume(500, 0.05):
                if not record.error():
                    self.act(decode_record(record.headers(), record.value(), CODEC))
            self.log.producer.poll(0)
        consumer.close()

    def act(self, command: Message) -> None:
        """Does a command and answers it."""
        id_, order_id = command.envelope.id, command.envelope.subject
        is_payment = command.envelope.aggregatetype == "payments"
        if order_id not in self.status or (is_payment and order_id in self.silent):
            return
        if id_ not in self.answers:
            act = self._payment if is_payment else self._order
            outcome, reason = act(order_id, command.body)
            self.answers[id_] = CommandAnswered(id_, command.envelope.type, outcome, reason)
        envelope = Envelope(
            id=derive_id(id_, "answer"),
            type=wire_type(CommandAnswered),
            source="/tally/services",
            aggregatetype="sagas",
            subject=order_id,
            version=None,
            recorded_at=now(),
            correlation_id=command.envelope.correlation_id,
            causation_id=id_,
        )
        self.log.send(SAGAS_REPLIES, Message(envelope, self.answers[id_]))

    def _order(self, order_id: str, body: Any) -> tuple[str, str | None]:
        status = self.status[order_id][0]
        if isinstance(body, ConfirmOrder) and status == "CREATED":
            self.append(order_id, OrderConfirmed(), "CONFIRMED")
        elif isinstance(body, RejectOrder) and status == "CREATED":
            self.append(order_id, OrderRejected(body.reason), "REJECTED")
        elif status != ("CONFIRMED" if isinstance(body, ConfirmOrder) else "REJECTED"):
            return "REFUSED", status
        return "DONE", None

    def _payment(self, order_id: str, body: Any) -> tuple[str, str | None]:
        if isinstance(body, AuthorisePayment) and order_id in self.decline:
            return "REFUSED", "PAYMENT_DECLINED"
        if isinstance(body, CapturePayment) and order_id in self.dispute:
            return "REFUSED", "EXPIRED"
        self.payments[order_id] = type(body).__name__
        return "DONE", None
