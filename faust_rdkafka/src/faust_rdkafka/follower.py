"""Follows changelog partitions that other workers write: a thread that reads what they commit, as long as the app runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from .errors import is_fatal

log = logging.getLogger(__name__)

_READ_AT_ONCE = 20_000
_IDLE_S = 0.2  # how late a stop or another set of partitions is noticed
_LOOK_S = 0.5
_END_WITHIN_S = 30.0

Pairs = dict[bytes, bytes | None]
Taken = Callable[[int, Pairs, int], None]  # partition, the last value of each key (None: deleted), the last offset


class Follower:
    """`taken` is called on the event loop with what was read, in the order of each partition's changelog."""

    def __init__(
        self, topic: str, client: Mapping[str, Any], taken: Taken, failed: Callable[[Exception], None]
    ) -> None:
        self._topic = topic
        self._config = {
            **client,
            "group.id": "follower",  # never joined: partitions are assigned by hand
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.queue.backoff.ms": 5,
        }
        self._taken = taken
        self._failed = failed
        self._asked: tuple[dict[int, int], dict[int, int]] | None = None  # starts and ends of another set of partitions
        self._behind: dict[int, int] = {}
        self._caught_up = asyncio.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # -- event loop

    def follow(self, starts: dict[int, int], ends: dict[int, int]) -> None:
        """These partitions from now on, by number; `ends` are their high watermarks at this moment."""
        self._caught_up.clear()
        self._asked = starts, ends
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name="rdkafka-follow", daemon=True)
            self._thread.start()

    async def caught_up(self, stopping: Callable[[], bool]) -> bool:
        """Whether all that was there at `follow` has been read; False when the app stops before."""
        while not stopping():
            try:
                await asyncio.wait_for(self._caught_up.wait(), _LOOK_S)
                return True
            except TimeoutError:
                continue
        return False

    async def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            await self._loop.run_in_executor(None, self._thread.join, _END_WITHIN_S)

    # -- thread

    def _run(self) -> None:
        reader = Consumer(self._config, logger=log)
        try:
            while not self._stop.is_set():
                asked, self._asked = self._asked, None
                if asked is not None:
                    self._begin(reader, *asked)
                self._read(reader)
        except Exception as error:
            self._loop.call_soon_threadsafe(self._failed, error)
        finally:
            reader.close()

    def _begin(self, reader: Any, starts: dict[int, int], ends: dict[int, int]) -> None:
        self._behind = {number: end for number, end in ends.items() if end > starts[number]}
        reader.assign([TopicPartition(self._topic, number, start) for number, start in starts.items()])
        self._tell_when_caught_up()

    def _read(self, reader: Any) -> None:
        first = reader.poll(_IDLE_S)
        if first is None:
            return
        read: dict[int, Pairs] = defaultdict(dict)
        last: dict[int, int] = {}
        reached = False
        for message in [first, *reader.consume(_READ_AT_ONCE, 0)]:
            if message.error() is not None:
                reached = self._note(message) or reached
                continue
            read[message.partition()][message.key()] = message.value()
            last[message.partition()] = message.offset()
        for number, pairs in read.items():
            self._loop.call_soon_threadsafe(self._taken, number, pairs, last[number])
        if reached:
            self._tell_when_caught_up()

    def _note(self, message: Message) -> bool:
        """Whether an end that was asked for is reached."""
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            # An earlier one is the last stable offset of an open transaction: its end is yet to come.
            if message.offset() < self._behind.get(message.partition(), message.offset() + 1):
                return False
            del self._behind[message.partition()]
            return True
        if is_fatal(error):
            raise KafkaException(error)
        log.warning("following %s: %s; reading on", self._topic, error)
        return False

    def _tell_when_caught_up(self) -> None:
        if not self._behind and self._asked is None:
            self._loop.call_soon_threadsafe(self._caught_up.set)
