"""A database and a topic of commands for one test, and sinks in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from producers.store.tables import DEAD_LETTERS
from producers.store.tables import TABLES as EVENT_STORE
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import ActOnDeadLetters, CancelOrder, DeadLettered
from schemas.records import encode_record
from tally.local.databases import PostgresHost

PROCESS = Path(__file__).parent / "sink_process.py"
WITHIN_S = 60.0
CODEC = AvroCodec()

TABLES = """
-- What the tests' handler does. Nothing here refuses a second effect of the same command: that is the sink's promise.
create table effects (place bigserial primary key, key text not null, seq int not null, worker int not null);
create table busy (key text primary key);
"""


@dataclass
class SinkProcess:
    """A real sink in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


@dataclass
class Place:
    """One topic of commands, one database, and the sinks between them."""

    bootstrap: str
    database_url: str
    topic: str
    folder: Path
    processes: list[SinkProcess] = field(default_factory=list)

    def start(self, *, instance: str = "0", session_timeout_ms: int = 10_000, rows_max: int = 10_000) -> SinkProcess:
        log = self.folder / f"sink-{len(self.processes)}.log"
        # What the URL says wins over the sink's own 10 s, which is long for a test.
        url = f"{self.database_url}?options=-c%20idle_in_transaction_session_timeout%3D3s"
        arguments = [self.bootstrap, url, self.topic, instance, str(session_timeout_ms), str(rows_max)]
        with log.open("wb") as out:
            process = subprocess.Popen([sys.executable, str(PROCESS), *arguments], stdout=out, stderr=out)
        self.processes.append(SinkProcess(process, log))
        return self.processes[-1]

    def send(self, commands: list[tuple[str, int]], bad: dict[int, bytes] | None = None) -> None:
        """Commands (key, seq), in order; those whose index is in `bad` have these bytes as value."""
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 1,
            }
        )
        for index, (key, seq) in enumerate(commands):
            record_key, value, headers = encode_record(command(key, seq), CODEC)
            producer.produce(self.topic, (bad or {}).get(index, value), record_key, headers=headers)
            producer.poll(0)
        assert producer.flush(30) == 0

    def act(self, body: ActOnDeadLetters) -> None:
        """An act on dead letters, to every partition."""
        id_ = new_id()
        envelope = Envelope(id_, "ACT_ON_DEAD_LETTERS", "/tally/tests", "dead-letters", "all", None, now(), id_, id_)
        key, value, headers = encode_record(Message(envelope, body), CODEC)
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for partition in range(4):
            producer.produce(f"{self.topic}.acts", value, key, partition, headers=headers)
        assert producer.flush(30) == 0

    def letters(self) -> dict[str, DeadLettered]:
        """The letters that are there, by key: the last row of each key counts, one without payload takes it away."""
        rows = self.ask("select aggregateid, payload from outbox where topic = 'dead-letters' order by created_at")
        return {key: CODEC.decode(payload) for key, payload in dict(rows).items() if payload is not None}

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until a question about another process is answered with yes."""
        end_s = time.monotonic() + WITHIN_S
        while not holds():
            logs = "\n".join(sink.log.read_text()[-2000:] for sink in self.processes)
            assert time.monotonic() < end_s, f"not within {WITHIN_S} s: {what}\n{logs}"
            time.sleep(0.02)

    def until_effects(self, count: int) -> None:
        """Wait for so many effects."""
        self.until(lambda: self.effects() >= count, f"{count} effects")

    def ask(self, query: str, values: Any = ()) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def effects(self) -> int:
        return int(self.ask("select count(*) from effects")[0][0])

    def sequences(self) -> dict[str, list[int]]:
        """Effects by key, in the order in which they were committed."""
        found: dict[str, list[int]] = {}
        for key, seq in self.ask("select key, seq from effects order by place"):
            found.setdefault(key, []).append(seq)
        return found


def command(key: str, seq: int) -> Message:
    """A command that carries its number in its reason."""
    id_ = new_id()
    envelope = Envelope(id_, "CANCEL_ORDER", "/tally/tests", "orders", key, None, now(), id_, id_)
    return Message(envelope, CancelOrder(reason=str(seq)))


@pytest.fixture
def place(kafka: str, postgres: PostgresHost, tmp_path: Path) -> Iterator[Place]:
    name = f"sink_{uuid.uuid4().hex[:10]}"
    url = postgres.create_database(name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(EVENT_STORE)
        connection.execute(DEAD_LETTERS)
        connection.execute(TABLES)
    admin = AdminClient({"bootstrap.servers": kafka})
    for created in admin.create_topics([NewTopic(name, 4, 1), NewTopic(f"{name}.acts", 4, 1)]).values():
        created.result(30)
    here = Place(kafka, url, name, tmp_path)
    try:
        yield here
    finally:
        for sink in here.processes:
            if sink.process.poll() is None:
                os.kill(sink.process.pid, signal.SIGCONT)
                sink.kill()
        for deleted in admin.delete_topics([name, f"{name}.acts"]).values():
            deleted.result(30)
        postgres.drop_database(name)
