"""Payments on a real database: commands as the sink gives them, and what became of them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from producers.payments.aggregate import Payment, payment_aggregate
from producers.payments.handler import PaymentCommands
from producers.store.connections import Pool
from producers.store.postgres import PostgresEventStore
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import AuthorisePayment, CommandAnswered, wire_type
from tally.local.ports import free_ports

# Far more than anything takes, for machines that have much else to do.
WITHIN_S = 60.0
CODEC = AvroCodec()


@dataclass
class Payments:
    """The payments' database, with the sink's side of it."""

    pool: Pool

    def command(self, body: Any, order_id: str, source: str = "/tally/sagas") -> Message:
        id_ = new_id()
        return Message(Envelope(id_, wire_type(type(body)), source, "payments", order_id, None, now(), id_, id_), body)

    def sink(self, *commands: Message) -> None:
        """One batch: one transaction, each command in a savepoint."""
        handler = PaymentCommands(CODEC)
        with self.pool.connection() as connection:
            for command in commands:
                with connection.transaction():
                    handler.handle(connection, command)

    def do(self, body: Any, order_id: str) -> Message:
        """Sinks one command of a saga."""
        command = self.command(body, order_id)
        self.sink(command)
        return command

    def authorise(self, reference: str = "tok_ok", method: str = "card") -> tuple[str, Message]:
        """Sinks the authorisation of a new payment; its id and the command."""
        order_id = new_id()
        return order_id, self.do(AuthorisePayment(1530, "GBP", method, reference), order_id)

    def types(self, order_id: str) -> list[str]:
        """The history, in short."""
        history = PostgresEventStore(self.pool, CODEC).read("payments", order_id)
        return [event.envelope.type for event in history]

    def state(self, order_id: str) -> Payment:
        """The state in the head row."""
        head = PostgresEventStore(self.pool, CODEC).find_head("payments", order_id)
        return payment_aggregate(order_id).state_of(head)

    def answers(self, command: Message) -> list[CommandAnswered]:
        """Every reply that the saga gets for a command."""
        with self.pool.connection() as connection:
            rows = connection.execute(
                "select payload from outbox where topic = 'sagas.replies' and causationid = %s", (command.envelope.id,)
            ).fetchall()
        return [CODEC.decode(bytes(row[0])) for row in rows]

    def answered(self, command: Message) -> CommandAnswered:
        """The one reply to a command, waited for."""
        until(lambda: bool(self.answers(command)), f"an answer to {command.envelope.type}")
        [answer] = self.answers(command)
        return answer

    def column(self, name: str) -> list[Any]:
        """One column of all attempts, in order."""
        with self.pool.connection() as connection:
            return [row[0] for row in connection.execute(f"select {name} from attempts order by seq").fetchall()]


def until(holds: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
    """Waits for a condition, with a bound."""
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends, f"waited {within_s} s for {what}"
        time.sleep(0.02)


class Sandbox:
    """The sandbox as a process of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = (data_dir / "sandbox.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [sys.executable, "-m", "producers", "payment-sandbox", "--port", str(self.port)]
        environment = {**os.environ, "TALLY_DATA_DIR": str(self.data_dir)}
        self.process = subprocess.Popen(arguments, env=environment, stdout=self.log, stderr=self.log)
        until(self._answers, "the sandbox to answer")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def forget(self) -> None:
        """Empties its book."""
        with closing(sqlite3.connect(self.data_dir / "payment-sandbox" / "payments.sqlite3", timeout=10)) as book:
            book.execute("delete from payments")
            book.execute("delete from refunds")
            book.commit()

    def statuses(self) -> dict[str, str]:
        """Its book: status by key."""
        items = httpx.get(f"{self.url}/payments", timeout=5, trust_env=False).json()["items"]
        return {item["key"]: item["status"] for item in items}

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.data_dir / "sandbox.log").read_text()
        try:
            return httpx.get(f"{self.url}/livez", timeout=1, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def payments(payments_pool: Pool) -> Payments:
    return Payments(payments_pool)


@pytest.fixture
def eventually() -> Callable[..., None]:
    return until


@pytest.fixture(scope="session")
def kept_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One process for the whole session; a test may kill it and start it again."""
    server = Sandbox(tmp_path_factory.mktemp("sandbox"))
    try:
        server.start()
        yield server
    finally:
        server.kill()
        server.log.close()


@pytest.fixture
def sandbox(kept_sandbox: Sandbox) -> Sandbox:
    """The sandbox with an empty book."""
    kept_sandbox.forget()
    return kept_sandbox
