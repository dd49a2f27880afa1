"""Follows `table-versions`: which version of each read model is served, and which is being built."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.table_versions import Versions, newest_by_name
from schemas.topics import TABLE_VERSIONS

# How late a stop is noticed; a record ends the wait at once.
POLL_S = 0.5
# A broker that is away, or a topic that is not made yet, is asked for again this often.
AGAIN_AFTER_S = 1.0
REQUEST_TIMEOUT_S = 10.0
# The broker answers at the first record, and there is one in a month; but a partition that is empty or was read is
# known to be so only when it answers, and a start waits for that.
FETCH_WAIT_MS, FIRST_FETCH_WAIT_MS = 5_000, 10
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
        reached = self._read_all()
        self._in_loop(self._read.set)
        if not reached:
            # A system from before there were versions: the first is served, until somebody makes the topic.
            self._ended.wait(AGAIN_AFTER_S)
            return
        consumer = self._consumer(FETCH_WAIT_MS)
        try:
            consumer.assign([TopicPartition(TABLE_VERSIONS, number, offset) for number, offset in reached.items()])
            while not self._ended.is_set():
                self._note(consumer.poll(POLL_S))
        finally:
            consumer.close()

    def _read_all(self) -> dict[int, int]:
        """Reads what stands there now; the offset behind it of each partition, none where there is no topic."""
        consumer = self._consumer(FIRST_FETCH_WAIT_MS)
        reached: dict[int, int] = {}
        try:
            found = consumer.list_topics(TABLE_VERSIONS, timeout=REQUEST_TIMEOUT_S).topics[TABLE_VERSIONS]
            numbers = [] if found.error is not None else sorted(found.partitions)
            consumer.assign([TopicPartition(TABLE_VERSIONS, number, 0) for number in numbers])
            while len(reached) < len(numbers) and not self._ended.is_set():
                message = consumer.poll(POLL_S)
                if self._note(message):
                    reached[message.partition()] = message.offset()
        finally:
            consumer.close()
        return reached

    def _consumer(self, fetch_wait_ms: int) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": _NO_GROUP,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": fetch_wait_ms,
                "log_level": 0,
            }
        )

    def _note(self, message: Any) -> bool:
        """Whether it is the end of a partition."""
        if message is None:
            return False
        error = message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            return True
        found = newest_by_name([(message.key(), message.value())], self._names)
        self._in_loop(lambda: self._take(found))
        return False

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
