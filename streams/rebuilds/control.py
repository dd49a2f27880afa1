"""Follows `table-versions`: which version of each read model is served, and which is being built."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaException

from schemas.table_versions import Versions
from schemas.versions_topic import POLL_S, VersionsTopic

# A broker that is away, or a topic that is not made yet, is asked for again this often.
AGAIN_AFTER_S = 1.0
_NO_GROUP = "tally-table-versions"

log = structlog.get_logger()

Changed = Callable[[dict[str, Versions]], None]


class Control:
    """A thread that reads the topic from its beginning, and tells on the event loop what changes after that."""

    def __init__(self, bootstrap: str, names: frozenset[str]) -> None:
        self._bootstrap, self._names = bootstrap, names
        self._versions: dict[str, Versions] = {}
        self._read = asyncio.Event()
        self._changed: Changed | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="table-versions", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def first(self) -> dict[str, Versions]:
        """Begins, and waits until all is read that stands there now, however long Kafka is away."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        await self._read.wait()
        return dict(self._versions)

    def tell(self, changed: Changed) -> None:
        """Calls with all versions after each change from now on."""
        self._changed = changed

    def stop(self) -> None:
        """Ends, and waits for it."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._follow()
            except KafkaException as error:
                log.warning("table versions wait for Kafka", error=str(error))
                self._ended.wait(AGAIN_AFTER_S)

    def _follow(self) -> None:
        topic = VersionsTopic(self._bootstrap, _NO_GROUP, self._names)
        try:
            self._tell(topic.read_all(lambda: not self._ended.is_set()))
            self._in_loop(self._read.set)
            if not topic.is_there:
                # The first version is served, until somebody makes the topic.
                self._ended.wait(AGAIN_AFTER_S)
            while topic.is_there and not self._ended.is_set():
                self._tell(topic.poll(POLL_S))
        finally:
            topic.close()

    def _tell(self, found: dict[str, Versions] | None) -> None:
        if found:
            self._in_loop(lambda: self._take(found))

    def _take(self, found: dict[str, Versions]) -> None:
        self._versions.update(found)
        if self._read.is_set() and self._changed is not None:
            self._changed(dict(self._versions))

    def _in_loop(self, call: Callable[[], None]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            # The loop is closed: the process ends.
            self._ended.set()
