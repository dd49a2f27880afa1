"""Follows `table-versions`: which version of each read model is served, and which is being built."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.table_versions import Versions, newest_by_name
from schemas.topics import TABLE_VERSIONS

# How late a stop is noticed; a record ends the wait at once.
POLL_S = 0.5
# A broker that is away, or a topic that is not made yet, is asked for again this often.
AGAIN_AFTER_S = 1.0
REQUEST_TIMEOUT_S = 10.0
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
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": _NO_GROUP,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                # The broker answers at the first record; there is one in a month.
                "fetch.wait.max.ms": 5_000,
                "log_level": 0,
            }
        )
        try:
            found = consumer.list_topics(TABLE_VERSIONS, timeout=REQUEST_TIMEOUT_S).topics[TABLE_VERSIONS]
            if found.error is not None or not found.partitions:
                # A system from before there were versions: the first is served, until somebody makes the topic.
                self._tell_read()
                self._ended.wait(AGAIN_AFTER_S)
                return
            unread = set(found.partitions)
            consumer.assign([TopicPartition(TABLE_VERSIONS, number, 0) for number in sorted(unread)])
            while not self._ended.is_set():
                self._step(consumer, unread)
        finally:
            consumer.close()

    def _step(self, consumer: Consumer, unread: set[int]) -> None:
        message = consumer.poll(POLL_S)
        if message is None:
            return
        error = message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            unread.discard(message.partition() or 0)
            if not unread:
                self._tell_read()
            return
        found = newest_by_name([(message.key(), message.value())], self._names)
        if any(self._versions.get(name, Versions()) != versions for name, versions in found.items()):
            self._in_loop(lambda: self._take(found))

    def _take(self, found: dict[str, Versions]) -> None:
        self._versions.update(found)
        if self._read.is_set() and self._changed is not None:
            self._changed(dict(self._versions))

    def _tell_read(self) -> None:
        self._in_loop(self._read.set)

    def _in_loop(self, call: Callable[[], None]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            # The loop is closed: the process ends.
            self._ended.set()
