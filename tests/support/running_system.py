"""A running system as tests see it: its endpoints, its HTTP, its command line, its processes; and bodies of orders."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

TALLY = Path(sys.executable).parent / "tally"
# Between two looks at something that another process brings about.
LOOK_AGAIN_S = 0.05
READY_WITHIN_S = 120.0
STOPPED_WITHIN_S = 60.0
AWAY_WITHIN_S = 60.0


class Running:
    """A running system: its endpoints, its HTTP, its command line, its processes."""

    def __init__(self, data_dir: Path, process: subprocess.Popen[bytes]) -> None:
        self.data_dir, self.process = data_dir, process
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
        self.environment["TALLY_DATA_DIR"] = str(data_dir)

    @property
    def endpoints(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data_dir / "endpoints.json").read_text())
        return found

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.endpoints["api"], timeout=15)

    def tally(self, *arguments: str, expect: int = 0, stdin: str = "") -> str:
        """What a verb prints to stdout; fails when its exit code is another than expected."""
        command = [str(TALLY), *arguments]
        done = subprocess.run(
            command, env=self.environment, input=stdin, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == expect, f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def kill(self, name: str) -> None:
        """kill -9, and wait until another process stands in its place."""
        pid = self.endpoints["pids"][name]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self._pid_of(name) not in (None, pid), 60, f"a successor of {name}")

    def _pid_of(self, name: str) -> int | None:
        try:
            pid: int | None = self.endpoints["pids"].get(name)
        except (FileNotFoundError, KeyError):
            return None
        return pid

    def receive(self, sku: str, quantity: int) -> None:
        """Stock comes in; returns when the agent has answered."""
        headers, answers = {"Idempotency-Key": uuid.uuid4().hex, "Prefer": "wait=10"}, list[httpx.Response]()

        def is_there() -> bool:
            """202 is "taken, and not answered yet": the same key asks again and receives nothing twice."""
            with self.client() as client:
                answers.append(client.post(f"/stock/{sku}/receipts", json={"quantity": quantity}, headers=headers))
            return answers[-1].status_code != 202

        wait_for(is_there, AWAY_WITHIN_S, f"the receipt of {sku}")
        assert answers[-1].status_code == 200, answers[-1].text

    def status_of(self, order_id: str) -> dict[str, Any]:
        """The order as the API shows it; asked for again where the API says that a server is away for a moment."""
        answers: list[httpx.Response] = []

        def answered() -> bool:
            with self.client() as client:
                answers.append(client.get(f"/orders/{order_id}"))
            return not (answers[-1].status_code == 503 and "Retry-After" in answers[-1].headers)

        wait_for(answered, AWAY_WITHIN_S, f"an answer on {order_id}")
        assert answers[-1].status_code == 200, answers[-1].text
        found: dict[str, Any] = answers[-1].json()
        return found

    def produce(self, topic: str, key: bytes, value: bytes) -> None:
        """A raw record, as anybody with access to the broker could write it."""
        producer = Producer(
            {"bootstrap.servers": self.endpoints["kafka"], "enable.idempotence": True, "partitioner": "murmur2_random"}
        )
        producer.produce(topic, value, key)
        assert producer.flush(10) == 0

    def wait_status(self, order_id: str, *wanted: str, within_s: float = 60) -> dict[str, Any]:
        wait_for(lambda: self.status_of(order_id)["status"] in wanted, within_s, f"{order_id} to be {wanted}")
        return self.status_of(order_id)


@contextmanager
def started(
    session: pytest.Session,
    command: Callable[[Path], list[str]],
    environment: Callable[[Path], dict[str, str]] = lambda _: {},
) -> Iterator[Running]:
    """A system on fresh data, ready, until the block ends; data and logs are kept when a test of the session failed.

    Both are asked with the data directory; `environment` is added to ours without its settings.
    """
    # Not pytest's folder: it is closed to all but us, and PostgreSQL, which is not started as root, must enter.
    data_dir = Path(tempfile.mkdtemp(prefix="tally-system-"))
    data_dir.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    with (data_dir / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            command(data_dir),
            env=inherited | environment(data_dir),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(
            lambda: (data_dir / "endpoints.json").exists() or process.poll() is not None, READY_WITHIN_S, "the system"
        )
        assert process.poll() is None, (data_dir / "dev.log").read_text()
        yield Running(data_dir, process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if session.testsfailed:
            print(f"data and logs are kept in {data_dir}")
        else:
            shutil.rmtree(data_dir)


def wait_for(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Until the condition holds; fails with its name when the time is up."""
    pause, ends_at_s = threading.Event(), time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends_at_s, f"waited {within_s} s for {what}"
        pause.wait(LOOK_AGAIN_S)


def order(*lines: tuple[str, int], customer: str = "guest", reference: str = "tok_ok") -> dict[str, Any]:
    """A body for POST /orders: lines of (sku, quantity)."""
    return {
        "customer_id": customer,
        "currency": "GBP",
        "lines": [{"sku": sku, "quantity": quantity, "unit_price_minor": 255} for sku, quantity in lines],
        "payment": {"method": "card", "reference": reference},
    }
