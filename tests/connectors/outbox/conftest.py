"""A database with an outbox table for one test, connectors in threads and processes, and what came out in Kafka."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from settled import is_settled
from standing import WITHIN_S, of_connector, of_database, of_topics, stacks, until

from connectors.outbox import LetterRecord, Metrics, OutboxConfig, Polling, Refusal, Routing, run
from connectors.outbox.polling.statements import seat_lock
from tally.local.databases import PostgresHost

PROCESS = Path(__file__).parent / "connector_process.py"
TABLE = """create table outbox (id uuid primary key default gen_random_uuid(), aggregatetype text, aggregateid text,
type text, payload bytea, version bigint, created_at timestamptz not null default clock_timestamp())"""


@dataclass
class Running:
    """A connector in a thread of the test."""

    config: OutboxConfig
    standing: Callable[[], str] = stacks
    stop: threading.Event = field(default_factory=threading.Event)
    metrics: Metrics = field(default_factory=Metrics)
    codes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(
            target=lambda: self.codes.append(run(self.config, self.stop, self.metrics)), daemon=True
        )
        self.thread.start()

    def until_ready(self) -> Running:
        until(lambda: self.metrics.ready or self.codes, "ready", standing=self.standing)
        assert not self.codes, f"ended with {self.codes}"
        return self

    def until_rows(self, count: int) -> None:
        until(lambda: self.metrics.rows_total >= count or self.codes, f"{count} rows", standing=self.standing)

    def exit_code(self) -> int:
        """Waits for it to end by itself."""
        self.thread.join(WITHIN_S)
        assert self.codes, f"still running\n{self.standing()}"
        return self.codes[0]

    def end(self) -> int:
        self.stop.set()
        return self.exit_code()


@dataclass
class Letters:
    """Dead letters with the row's id as key, the reason as value."""

    topic: str

    @staticmethod
    def write(refusal: Refusal) -> LetterRecord:
        topic = (refusal.topic or "").encode()
        return LetterRecord(refusal.row_id.encode(), refusal.reason.encode(), [("topic", topic)])


class Outbox:
    """One test's database, table, slot and topics; everything carries the same unique name."""

    def __init__(self, host: PostgresHost, bootstrap: str) -> None:
        self.host, self.bootstrap = host, bootstrap
        self.name = f"ob_{uuid.uuid4().hex[:10]}"
        self.url = host.create_database(self.name)
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
        self.running: list[Running] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self._polling: Polling | None = None

    def polls(self) -> None:
        """From here on connectors poll, as one name."""
        self._polling = Polling()

    def config(self, **changes: Any) -> OutboxConfig:
        """Topics are `<name>.<aggregatetype>`."""
        routing = Routing(**({"route_replacement": self.name + ".${routedByValue}"} | changes.pop("routing", {})))
        given = {"name": self.name, "source_url": self.url, "bootstrap": self.bootstrap, "table": "public.outbox"}
        return OutboxConfig(
            **(
                given
                | {"slot": self.name, "routing": routing, "create_topics": True, "polling": self._polling}
                | changes
            )
        )

    def start(self, **changes: Any) -> Running:
        return self.start_with(self.config(**changes))

    def start_with(self, config: OutboxConfig) -> Running:
        self.running.append(Running(config, self.standing))
        return self.running[-1]

    def standing(self) -> str:
        """Where everything of this test stands, line by line."""
        connectors = [of_connector(running.config.name, running.metrics) for running in self.running]
        return "\n".join([*connectors, of_database(self.url), of_topics(self.admin, self.name), stacks()])

    def spawn(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """The connector as a real process; `environment` is what `connector_process.py` reads."""
        given = ["--source-url", self.url, "--bootstrap", self.bootstrap]
        given += ["--polling", "--connector-name", self.name] if self._polling else ["--slot", self.name]
        given += ["--route", self.name + ".${routedByValue}", *arguments]
        process = subprocess.Popen(
            [sys.executable, str(PROCESS), *given], stderr=subprocess.PIPE, env=os.environ | environment
        )
        self.processes.append(process)
        return process

    def topic(self, suffix: str) -> str:
        return f"{self.name}.{suffix}"

    def create_topic(self, suffix: str, partitions: int = 4, **config: str) -> str:
        name = self.topic(suffix)
        self.admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(20)
        return name

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Each statement on its own in autocommit; rows of the last."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def insert(self, first: int, last: int, topic: str = "t", rows_a_transaction: int = 1) -> None:
        """Rows numbered `version` first..last, of five aggregates."""
        with psycopg.connect(self.url) as connection:
            for version in range(first, last + 1):
                connection.execute(
                    "insert into outbox (aggregatetype, aggregateid, type, payload, version) values (%s, %s, 'T', %s, %s)",
                    (topic, f"k{version % 5}", str(version).encode(), version),
                )
                if version % rows_a_transaction == 0:
                    connection.commit()

    def limit_topic(self, suffix: str, bytes_max: int) -> None:
        """Sets what one record of the topic may hold; the broker goes by it when this returns.

        Its answer says no more than that the limit is written down.
        """
        entry = ConfigEntry("max.message.bytes", str(bytes_max), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, self.topic(suffix), incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(20)
        settings = {"bootstrap.servers": self.bootstrap, "transactional.id": f"{self.name}.limit", "log_level": 2}
        producer = Producer(settings | {"message.max.bytes": 10 * bytes_max})
        producer.init_transactions(20)

        def takes(bytes_: int) -> bool:
            """Whether the topic would take such a record; it is never committed."""
            errors: list[KafkaError | None] = []
            producer.begin_transaction()
            producer.produce(self.topic(suffix), b"x" * bytes_, on_delivery=lambda error, _: errors.append(error))
            producer.flush(20)
            producer.abort_transaction(20)
            (error,) = errors
            return error is None

        margin = bytes_max // 4  # a record is more than its value
        until(lambda: takes(bytes_max - margin) and not takes(bytes_max + margin), f"at most {bytes_max} bytes")

    def letters(self) -> Letters:
        """A topic for dead letters, and a hook that writes plain ones."""
        return Letters(self.create_topic("letters", 1))

    def topics(self) -> list[str]:
        return [name for name in self.admin.list_topics(timeout=20).topics if name.startswith(self.name + ".")]

    def read(self, *topics: str) -> list[Any]:
        """Every committed record of the topics (default: all of this test), in the order of partitions and offsets."""
        self.until_none_open(*(topics or self.topics()))
        return self._read(*topics)

    def _read(self, *topics: str) -> list[Any]:
        """As far as no transaction is open."""
        settings = {"bootstrap.servers": self.bootstrap, "group.id": "none", "isolation.level": "read_committed"}
        consumer = Consumer(settings | {"enable.partition.eof": True, "enable.auto.commit": False, "log_level": 2})
        try:
            found: list[Any] = []
            known = consumer.list_topics(timeout=20).topics
            # One answer decides what there is: a topic just made is not known to every question yet.
            names = topics or [name for name in known if name.startswith(self.name + ".")]
            places = [TopicPartition(name, part, 0) for name in names for part in known[name].partitions]
            consumer.assign(places)
            ended = 0
            while ended < len(places):
                record = consumer.poll(20)
                assert record is not None, "a partition does not end: an open transaction?"
                if record.error() is None:
                    found.append(record)
                else:
                    assert record.error().code() == KafkaError._PARTITION_EOF, record.error()
                    ended += 1
            return sorted(found, key=lambda record: (record.topic(), record.partition(), record.offset()))
        finally:
            consumer.close()

    def until_read(self, count: int, *topics: str, within_s: float = WITHIN_S) -> list[Any]:
        """Waits until so many records are there."""
        found: list[Any] = []

        def enough() -> bool:
            found[:] = self._read(*topics) if not topics or set(topics) <= set(self.topics()) else []
            return len(found) >= count

        until(enough, f"{count} records", within_s, lambda: f"{len(found)} records found\n{self.standing()}")
        return found

    def until_written(self, count: int) -> None:
        """Waits until so many rows are PUBLISHED in the table of a polling connector."""
        until(
            lambda: self.sql("select count(*) from outbox where status = 'PUBLISHED'")[0][0] >= count,
            f"{count} rows PUBLISHED",
            standing=self.standing,
        )

    def until_seated(self, count: int) -> None:
        """Waits until so many processes of a polling connector hold a seat; before that a signal ends one like any program.

        One that settles what a killed one left holds that one's seat meanwhile beside its own.
        """
        held = (
            "select count(distinct pid) from pg_locks where locktype = 'advisory' and granted"
            f" and classid = (hashtext('{seat_lock(self.name)}')::bigint & 4294967295)::oid"
        )
        until(lambda: self.sql(held)[0][0] == count, f"{count} seats held", standing=self.standing)

    def until_slot_is_free(self) -> None:
        """Waits until the server has noticed that whoever streamed from the slot has gone."""
        held = f"select active_pid from pg_replication_slots where slot_name = '{self.name}'"
        until(lambda: self.sql(held)[0][0] is None, "the slot is let go", standing=self.standing)

    def until_none_open(self, *topics: str) -> None:
        """Waits until no transaction is open in the topics: a killed process's is ended by whoever finds its seat free.

        A seat that is held does not say so yet: a process asked to stop then leaves the transaction to its time-out.
        """
        until(lambda: is_settled(self.admin, *topics), "no transaction open", standing=self.standing)

    def end_all(self) -> None:
        """Ends every connector of the test."""
        for running in self.running:
            running.stop.set()
        for process in self.processes:
            process.kill()
            process.communicate()
        for running in self.running:
            running.thread.join(WITHIN_S)

    def close(self) -> None:
        self.end_all()
        mine = [name for name in self.admin.list_topics(timeout=20).topics if self.name in name]
        if mine:
            for future in self.admin.delete_topics(mine).values():
                future.result(20)
        self.host.drop_database(self.name)


@pytest.fixture
def bare_outbox(postgres: PostgresHost, kafka: str) -> Iterator[Outbox]:
    """A database without a table."""
    outbox = Outbox(postgres, kafka)
    yield outbox
    outbox.close()


@pytest.fixture
def outbox(bare_outbox: Outbox) -> Outbox:
    """A database with an empty outbox table."""
    bare_outbox.sql(TABLE)
    return bare_outbox


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """`until`, for tests that cannot import a conftest."""
    return until


@pytest.fixture
def outbox_on(kafka: str) -> Callable[[PostgresHost], Outbox]:
    """An outbox on a server of the test's own; the test closes it."""

    def make(host: PostgresHost) -> Outbox:
        outbox = Outbox(host, kafka)
        outbox.sql(TABLE)
        return outbox

    return make


@pytest.fixture
def outbox_pair() -> Callable[[PostgresHost, str], Outbox]:
    """An outbox on a server and a broker of the test's own."""

    def make(host: PostgresHost, bootstrap: str) -> Outbox:
        outbox = Outbox(host, bootstrap)
        outbox.sql(TABLE)
        return outbox

    return make


@pytest.fixture
def outbox_at(postgres: PostgresHost) -> Iterator[Callable[[str], Outbox]]:
    """An outbox whose broker is the test's own; what it left there goes with that broker."""
    made: list[Outbox] = []

    def make(bootstrap: str) -> Outbox:
        made.append(Outbox(postgres, bootstrap))
        made[-1].sql(TABLE)
        return made[-1]

    yield make
    for outbox in made:
        outbox.end_all()
        outbox.host.drop_database(outbox.name)
