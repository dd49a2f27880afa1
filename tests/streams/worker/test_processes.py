"""`python -m streams --processes 2`: two workers share the partitions; one is killed, the other goes on, it comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.partitioning import partition_of
from tally.local.ports import free_ports, is_free

WITHIN_S = 60.0


class Group:
    """The supervisor's process and what its workers answer."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.port = next(port for port in free_ports(20) if is_free(port + 1))
        self._log = folder / "workers.log"
        self._workers = [httpx.Client(base_url=f"http://127.0.0.1:{self.port + n}", timeout=90) for n in (0, 1)]
        self.folder = folder
        command = [sys.executable, "-m", "streams", "--processes", "2", "--port", str(self.port)]
        with self._log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, "TALLY_KAFKA_BOOTSTRAP": bootstrap, "TALLY_DATA_DIR": str(folder)},
                stdout=out,
                stderr=out,
            )

    def get(self, index: int, path: str, **params: Any) -> httpx.Response | None:
        """None while that worker does not answer."""
        assert self.process.poll() is None, self._log.read_text()
        try:
            return self._workers[index].get(path, params=params)
        except httpx.TransportError:
            return None

    def pid(self, index: int) -> int | None:
        """Of a worker that is ready."""
        answer = self.get(index, "/readyz")
        return None if answer is None or answer.status_code != 200 else int(answer.json()["pid"])

    def partitions(self, index: int) -> list[int]:
        answer = self.get(index, "/tables")
        return [] if answer is None else list(answer.json()[0]["partitions"])

    def shared(self) -> bool:
        """Each has a half."""
        return sorted(self.partitions(0) + self.partitions(1)) == [0, 1, 2, 3] and len(self.partitions(0)) == 2

    def status(self, order_id: str) -> str | None:
        """What the order's owner says."""
        for index in (0, 1):
            answer = self.get(index, f"/tables/orders/{order_id}")
            if answer is not None and answer.status_code == 200:
                return str(answer.json()["value"]["status"])
        return None

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(WITHIN_S)
        for worker in self._workers:
            worker.close()
        return code


@pytest.fixture
def group(tally_kafka: str, tmp_path: Path) -> Iterator[Group]:
    running = Group(tally_kafka, tmp_path)
    yield running
    if running.process.poll() is None:
        running.end()


def _order_of(partition: int) -> str:
    ids = (f"order-{uuid.uuid4().hex[:12]}" for _ in range(1000))
    return next(id_ for id_ in ids if partition_of(id_.encode(), 4) == partition)


def test_of_two_processes_one_is_killed_and_both_halves_go_on(
    group: Group, log: Any, services: Any, until: Callable[..., Any]
) -> None:
    until(group.shared, "each owns a half", WITHIN_S)
    killed = until(lambda: group.pid(1), "the second is ready")
    first, second = (_order_of(group.partitions(index)[0]) for index in (0, 1))
    os.kill(killed, signal.SIGKILL)
    for order_id in (first, second):
        services.place(order_id, [(f"sku-{order_id}", 1)])
    log.flush()
    # Nobody has that stock: the saga asks, is refused and rejects, through both halves.
    until(lambda: group.status(first) == "REJECTED", "the half of the one that lives goes on")
    until(lambda: group.status(second) == "REJECTED", "the other half goes on")
    successor = until(lambda: group.pid(1), "another process in its place")
    assert successor != killed
    until(group.shared, "each owns its half again", WITHIN_S)
    assert sorted(path.name for path in (group.folder / "workers").iterdir()) == ["worker-0", "worker-1"]
    # It has its half before the rows of it.
    pids = [until(lambda index=index: group.pid(index), "both are ready") for index in (0, 1)]
    assert group.end() == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_port_that_is_taken_is_one_line_that_names_it(tmp_path: Path, taken_port: int) -> None:
    environment = {**os.environ, "TALLY_KAFKA_BOOTSTRAP": "127.0.0.1:9", "TALLY_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "streams", "--processes", "2", "--port", str(taken_port)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert f"port {taken_port}" in ended.stderr.splitlines()[-1]
