"""The thread that owns librdkafka's consumer: it gathers records while the event loop works, and serves rebalances."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaException, Message, TopicPartition
from faust.types import TP

from .assigning import Assignment, Listener
from .errors import is_fatal
from .gathered import Gathered, by_partition, decoded, size_of
from .intake import Intake
from .options import Options
from .stats import Stats

log = logging.getLogger(__name__)

_IDLE_S = 0.2  # how late a stop or a subscription can be noticed; data and rebalances wake the poll at once
_BUSY_S = 0.002  # while the loop works: gather in larger grabs instead of one wake-up a record


class Fetcher:
    """Started once; `start` to `metadata` are for the event loop, the rest happens in the thread."""

    def __init__(
        self,
        config: dict[str, Any],
        options: Options,
        listener: Listener,
        stats: Stats,
        make_consumer: Callable[..., Any] = confluent_kafka.Consumer,
    ) -> None:
        self._config, self._make_consumer = config, make_consumer
        self._listener = listener
        self._stats = stats
        self._intake = Intake(options)
        self._assignment = Assignment(
            listener,
            self._intake,
            stats,
            lambda: self._stop,
            incremental=options.group_protocol == "consumer",
            from_latest=config.get("auto.offset.reset") == "latest",
        )
        self._stop = False
        self._subscription: list[str] | None = None
        self.decode_ahead = False  # the first batch is decoded where a death can be told apart
        self.ends: dict[TP, int] = {}  # known ends of the partitions, at most `_IDLE_S` old while polling
        self._ends_at = 0.0

    # -- event loop

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = self._assignment.loop = loop
        self._consumer = self._make_consumer(self._config, logger=log)
        self._thread = threading.Thread(target=self._run, name="rdkafka-fetch", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        self._stop = True
        self._intake.let_go()
        await self._loop.run_in_executor(None, self._thread.join, 30)

    def subscribe(self, topics: list[str]) -> None:
        self._subscription = topics

    def take(self) -> Gathered | None:
        """What is there; None when nothing is, and then the listener is woken as soon as there is."""
        return self._intake.take()

    def hold(self, partitions: frozenset[TP]) -> None:
        """Read nothing more of these partitions, and of all others again; done before the next poll."""
        self._assignment.wanted_held = partitions

    @property
    def held(self) -> frozenset[TP]:
        """Partitions of which nothing is read just now."""
        return self._assignment.held

    def drop_until_rebalance(self) -> None:
        """The group moved on without us: keep polling for the rebalance and throw records away."""
        self._intake.drop_until_rebalance()

    @property
    def epoch(self) -> int:
        """Counts assignments and revocations."""
        return self._intake.epoch

    @property
    def lost(self) -> bool:
        return self._assignment.lost

    @property
    def metadata(self) -> Any:
        """The group's, of the present assignment."""
        return self._assignment.metadata

    # -- thread

    def _run(self) -> None:
        assignment = self._assignment
        try:
            while not self._stop:
                if self._subscription is not None:
                    topics, self._subscription = self._subscription, None
                    self._consumer.subscribe(
                        topics,
                        on_assign=assignment.on_assign,
                        on_revoke=assignment.on_revoke,
                        on_lost=assignment.on_lost,
                    )
                self._gather()
            self._consumer.close()
        except BaseException as error:
            self._loop.call_soon_threadsafe(self._listener.failed, error)

    def _gather(self) -> None:
        self._note_ends()
        self._assignment.apply_holds(self._consumer)
        intake = self._intake
        room = intake.room()
        self._hand_over()
        if room <= 0 and not intake.dropping:
            intake.wait_for_room(_IDLE_S)
            return
        room = max(room, 1)
        epoch = intake.epoch
        lingers_s = intake.lingers_s()
        first = self._consumer.poll(_IDLE_S if lingers_s is None else lingers_s)
        if first is None:
            self._hand_over()
            return
        began = time.perf_counter()
        messages = [first]
        if room > 1:
            messages += self._consumer.consume(room - 1, 0 if intake.hungry else _BUSY_S)
        groups, others = by_partition(messages)
        _raise_fatal(others)
        if intake.epoch != epoch:
            # A rebalance came in the middle: these may be of either assignment, read them again.
            self._assignment.read_again(self._consumer)
            return
        if not intake.dropping:
            self._keep(groups, others, messages)
            self._hand_over()
        self._stats.fetch_s += time.perf_counter() - began

    def _note_ends(self) -> None:
        """The high watermarks that the last fetches brought; nothing is asked of the broker.

        In this thread: called from another one it waits for the poll that goes on here, for ever as seen.
        """
        now = time.monotonic()
        if now < self._ends_at + _IDLE_S:
            return
        self._ends_at = now
        ends = {}
        for tp in self._assignment.starts:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(tp.topic, tp.partition), cached=True)
            ends[TP(tp.topic, tp.partition)] = int(high)
        self.ends = ends

    def _keep(self, groups: dict[TP, list[Message]], others: list[Message], messages: list[Message]) -> None:
        decoders = self._assignment.decoders if self.decode_ahead else {}
        began = time.perf_counter()
        runs = [(decoded(tp, group, decoders), size_of(group)) for tp, group in groups.items()]
        took_s = time.perf_counter() - began
        self._stats.decode_s += took_s
        self._stats.fetch_s -= took_s  # the caller counts the whole
        self._intake.keep(runs, others, messages)

    def _hand_over(self) -> None:
        if self._intake.is_awaited():
            self._loop.call_soon_threadsafe(self._listener.wake)


def _raise_fatal(notices: list[Message]) -> None:
    """Also of what is thrown away then: librdkafka says once that it cannot go on, and from then on nothing."""
    for notice in notices:
        if is_fatal(notice.error()):
            raise KafkaException(notice.error())
