"""The local servers together: started side by side, stopped in order, one owner per data directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from types import TracebackType
from typing import Self

from tally.local.data_directory import DataDirectory
from tally.local.kafka import Kafka
from tally.local.postgres import Postgres
from tally.local.server import Server
from tally.local.valkey import Valkey


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


def start_side_by_side(servers: Sequence[Server], then: Mapping[str, Callable[[], None]] | None = None) -> None:
    """Prepare and wait in threads, launch each from this thread as soon as it is prepared. Raises the first error.

    `then[name]` runs, in the thread that waited, as soon as that server is ready; the others may still be starting.
    """
    if not servers:
        return
    afterwards = then or {}
    with ThreadPoolExecutor(len(servers)) as pool:
        preparing: dict[Future[None], Server] = {pool.submit(server.prepare): server for server in servers}
        waiting: list[Future[None]] = []
        for prepared in as_completed(preparing):
            prepared.result()
            server = preparing[prepared]
            server.launch()
            waiting.append(pool.submit(_wait_then, server, afterwards.get(server.name, _nothing)))
        for ready in as_completed(waiting):
            ready.result()


def _wait_then(server: Server, act: Callable[[], None]) -> None:
    server.wait_ready()
    act()


def _nothing() -> None:
    pass


def stop_in_order(servers: Sequence[Server]) -> None:
    """Stop one after the other; each wait is bounded by the server's own time."""
    for server in servers:
        server.stop()
