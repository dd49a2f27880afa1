"""The local servers together: started side by side, stopped in order, one owner per data directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from types import TracebackType
from typing import Self

from tally.local.errors import AlreadyRuns
from tally.local.kafka import Kafka
from tally.local.postgres import Postgres
from tally.local.server import Server
from tally.local.valkey import Valkey


class DataDirectory:
    """The right to use a data directory: one process at a time; given back by the kernel when that process ends."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._file: int | None = None

    def claim(self) -> None:
        """Take it. Raises `AlreadyRuns` when another process has it."""
        self.path.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path / "owner.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(file, 20).decode().strip()
            os.close(file)
            raise AlreadyRuns(self.path, owner or "?") from None
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        self._file = file

    def release(self) -> None:
        """Give it back; nothing happens when it was not taken."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class LocalServers:
    """Kafka, PostgreSQL and Valkey in one data directory; a context manager that starts and stops them.

    Started from the main thread only (see `Child`). `durable=False` is for tests: see `Postgres`.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.directory = DataDirectory(data_dir)
        self.kafka = Kafka(data_dir)
        self.postgres = Postgres(data_dir, durable=durable)
        self.valkey = Valkey(data_dir)

    @property
    def all(self) -> tuple[Server, ...]:
        """In the order of stopping: what others lean on comes last."""
        return (self.valkey, self.kafka, self.postgres)

    def start(self) -> None:
        """Start all and wait until all answer; when one fails all are stopped. Raises `LocalError`s."""
        self.directory.claim()
        try:
            start_side_by_side(self.all)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Orderly end of all, and of our claim on the data directory."""
        stop_in_order(self.all)
        self.directory.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_side_by_side(servers: Sequence[Server]) -> None:
    """Prepare and wait in threads, launch each from this thread as soon as it is prepared. Raises the first error."""
    if not servers:
        return
    with ThreadPoolExecutor(len(servers)) as pool:
        preparing: dict[Future[None], Server] = {pool.submit(server.prepare): server for server in servers}
        waiting: list[Future[None]] = []
        for prepared in as_completed(preparing):
            prepared.result()
            preparing[prepared].launch()
            waiting.append(pool.submit(preparing[prepared].wait_ready))
        for ready in as_completed(waiting):
            ready.result()


def stop_in_order(servers: Sequence[Server]) -> None:
    """Stop one after the other; each wait is bounded by the server's own time."""
    for server in servers:
        server.stop()
