"""A broker for the tests, what they read and write on it, and workers as real processes."""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic
from fold_workers import Workers
from properties import judge_by_what_is_found
from settled import is_settled, wait_until_settled
from soak_table import SoakTable

from tally.local.kafka import Kafka

# pytest's importlib mode calls these files faust_rdkafka.tests.…, after their folders, and puts the outer folder into
# sys.modules under the package's name. The package itself must stand there.
if getattr(sys.modules.get("faust_rdkafka"), "__file__", None) is None:
    sys.modules.pop("faust_rdkafka", None)
importlib.import_module("faust_rdkafka")

PARTITIONS = 4
READ_WITHIN_S = 60.0
FOLD_WORKER = Path(__file__).with_name("fold_worker.py")
SOAK = pytest.StashKey[SoakTable]()


def pytest_configure() -> None:
    judge_by_what_is_found()


class Broker:
    """Topics, records and committed offsets, seen from outside of the worker."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.url = f"rdkafka://{bootstrap}"
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._askers: dict[str, Consumer] = {}  # by group; they never join it
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
            }
        )

    def name(self, stem: str) -> str:
        return f"{stem}-{uuid.uuid4().hex[:8]}"

    def topic(self, stem: str, partitions: int = PARTITIONS) -> str:
        name = self.name(stem)
        for future in self._admin.create_topics([NewTopic(name, partitions, 1)]).values():
            future.result(20)
        return name

    def send(self, topic: str, *records: tuple[str, Any], **options: Any) -> None:
        """(key, value) each; a value that is no bytes becomes JSON."""
        for key, value in records:
            body = value if isinstance(value, bytes) else orjson.dumps(value)
            while True:
                try:
                    self._producer.produce(topic, body, key.encode(), **options)
                    break
                except BufferError:
                    self._producer.poll(0.1)
        self._producer.flush(20)

    def read(self, topic: str, isolation: str = "read_committed") -> list[Message]:
        """All that a reader sees from the beginning to the present end."""
        if isolation == "read_committed":
            wait_until_settled(self._admin, topic)
        deadline = time.monotonic() + READ_WITHIN_S
        reader = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "reader",
                "isolation.level": isolation,
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
            }
        )
        numbers = set(reader.list_topics(topic, 10).topics[topic].partitions)
        reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers])
        found: list[Message] = []
        while numbers and time.monotonic() < deadline:
            for message in reader.consume(10_000, 0.1):
                if message.error() is None:
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    numbers.discard(message.partition())
        reader.close()
        assert not numbers, f"{topic} could not be read to its end"
        return found

    def table(self, topic: str) -> dict[tuple[int, str], Any]:
        """A changelog's last values by (partition, key)."""
        rows: dict[tuple[int, str], Any] = {}
        for message in self.read(topic):
            place = (message.partition(), message.key().decode())
            if message.value() is None:
                rows.pop(place, None)
            else:
                rows[place] = orjson.loads(message.value())
        return rows

    def table_of_bytes(self, topic: str) -> dict[tuple[int, bytes], bytes]:
        """The same as they stand there."""
        rows = {(m.partition(), m.key()): m.value() for m in self.read(topic)}
        return {place: value for place, value in rows.items() if value is not None}

    def members(self, group: str) -> list[Any]:
        return self._admin.describe_consumer_groups([group])[group].result(10).members

    def committed(self, group: str, topic: str) -> int:
        """How many records the group has done with, markers not counted: the sources here hold none."""
        asker = self._askers.get(group)
        if asker is None:
            # Not the admin client: its answer for groups ends the process now and then (confluent-kafka 2.16.1).
            asker = self._askers[group] = Consumer(
                {"bootstrap.servers": self.bootstrap, "group.id": group, "isolation.level": "read_uncommitted"}
            )
        try:
            found = asker.committed([TopicPartition(topic, number) for number in range(PARTITIONS)], 20)
            return sum(max(tp.offset, 0) for tp in found)
        except KafkaException:
            # A broker that just came up: its coordinator does not answer yet, and this client may never find it again.
            self._askers.pop(group).close()
            return 0

    def is_settled(self, topic: str) -> bool:
        """Whether no transaction is open in it."""
        return is_settled(self._admin, topic)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    given = os.environ.get("TALLY_KAFKA_BOOTSTRAP")
    if given:
        yield Broker(given)
        return
    server = Kafka(tmp_path_factory.mktemp("kafka"))
    server.start()
    try:
        yield Broker(server.bootstrap)
    finally:
        server.stop()


@pytest.fixture
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Kafka]]:
    """A broker that the test may kill and start again."""
    server = Kafka(tmp_path_factory.mktemp("own"))
    server.start()
    try:
        yield Broker(server.bootstrap), server
    finally:
        server.stop()


@pytest.fixture
def workers_of(tmp_path: Path) -> Iterator[Callable[[Broker], Workers]]:
    made: list[Workers] = []

    def make(broker: Broker) -> Workers:
        made.append(Workers(FOLD_WORKER, broker.bootstrap, tmp_path / "workers.log"))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def workers(broker: Broker, workers_of: Callable[[Broker], Workers]) -> Workers:
    return workers_of(broker)


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for a condition of another process, which can only be looked at, with a bound."""

    def wait(condition: Callable[[], bool], within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {within_s} s"
            time.sleep(0.02)

    return wait


@pytest.fixture
def kill_at_random(until: Callable[..., None]) -> Callable[..., None]:
    """Kill a run's worker again and again, each time after some progress at a moment that the seed picks; then check it.

    `ahead`: so many commands wait at least when a worker starts, so that each kill finds it at work.
    """

    def kill(run: Any, kills: int, seed: int = 7, ahead: int = 0) -> None:
        chance = random.Random(seed)
        process = run.start()
        for _ in range(kills):
            before = run.done()
            until(lambda before=before: run.done() > before or run.finished())
            try:
                process.wait(chance.uniform(0, 0.15))
            except subprocess.TimeoutExpired:  # it still runs at the random moment, as it should
                process.kill()
            process.wait()
            run.keep_ahead(ahead)
            process = run.start()
        run.finish(process)
        run.check()

    return kill


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`soak(run, "12 kills")`: a line of the table that ends a session with slow tests."""
    table = request.config.stash.setdefault(SOAK, SoakTable())
    began = time.monotonic()
    return lambda run, faults: table.add(request.node.name, faults, run, time.monotonic() - began)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    table = config.stash.get(SOAK, None)
    if table is not None:
        terminalreporter.section("the same commands under faults")
        terminalreporter.write(table.text())


@pytest.fixture
def running() -> Callable[[Any], AbstractAsyncContextManager[Any]]:
    """`async with running(app)`: the app in this loop, its tables restored."""

    @asynccontextmanager
    async def run(app: Any) -> AsyncIterator[Any]:
        restored = asyncio.Event()
        app.on_partitions_restored(lambda partitions: restored.set())
        app.finalize()
        await app.start()
        try:
            await asyncio.wait_for(restored.wait(), 60)
            yield app
        finally:
            await app.stop()

    return run
