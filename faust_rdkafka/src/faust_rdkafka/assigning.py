"""What happens in the fetch thread when partitions come and go; each step waits for what the event loop makes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol, TypeVar

from confluent_kafka import KafkaException, TopicPartition
from faust.types import TP

from .intake import Intake
from .records import BatchSchema
from .restore import patiently
from .stats import Stats

log = logging.getLogger(__name__)

T = TypeVar("T")

_LOOK_S = 0.5  # how late a stop is noticed while the event loop works


class Listener(Protocol):
    """What the consumer does, on the event loop, when partitions come and go."""

    async def assigned(self, starts: dict[TP, int]) -> dict[TP, BatchSchema]: ...
    async def revoked(self, partitions: set[TP]) -> None: ...
    def wake(self) -> None: ...
    def failed(self, error: BaseException) -> None: ...


class Assignment:
    """The partitions of this consumer. Its `on_…` methods are librdkafka's callbacks: they run inside of a poll.

    KIP-848 gives and takes single partitions (`incremental`); the classic protocol with range whole assignments.
    `from_latest`: without a committed offset it begins at the end in place of the beginning.
    """

    def __init__(
        self,
        listener: Listener,
        intake: Intake,
        stats: Stats,
        stopping: Callable[[], bool],
        *,
        incremental: bool,
        from_latest: bool,
    ) -> None:
        self._listener = listener
        self._intake = intake
        self._stats = stats
        self._stopping = stopping
        self._incremental = incremental
        self._from_latest = from_latest
        self.loop: asyncio.AbstractEventLoop | None = None
        self.starts: list[TopicPartition] = []
        self.decoders: dict[TP, BatchSchema] = {}
        self.metadata: Any = None  # the group's, of the present assignment
        self.lost = False
        self.wanted_held: frozenset[TP] = frozenset()
        self.held: frozenset[TP] = frozenset()

    def apply_holds(self, consumer: Any) -> None:
        """Pauses what is to be held and lets all else go on."""
        wanted = self.wanted_held & _places(self.starts)
        if wanted == self.held:
            return
        consumer.pause([TopicPartition(tp.topic, tp.partition) for tp in wanted - self.held])
        consumer.resume([TopicPartition(tp.topic, tp.partition) for tp in self.held - wanted])
        self.held = wanted

    def on_assign(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._intake.new_epoch()
        self._stats.rebalances += 1
        held = self.starts if self._incremental else []
        if held:
            # Faust knows whole assignments only: what stays is given back and comes again with the rest.
            self._in_loop(self._listener.revoked(_places(held)))
            consumer.incremental_unassign(held)
        self._begin(consumer, [*held, *partitions])

    def on_revoke(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._intake.new_epoch()
        held, self.starts = self.starts, []
        gone = _places(partitions)
        self._in_loop(self._listener.revoked(_places(held) | gone))
        if not self._incremental:
            consumer.unassign()
            return
        consumer.incremental_unassign(held)
        kept = [tp for tp in held if TP(tp.topic, tp.partition) not in gone]
        if kept and not self._stopping():
            self._begin(consumer, kept)

    def on_lost(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        # Another worker may own them already; the running transaction will be refused.
        log.warning("partitions lost: %s", partitions)
        self.lost = True
        self.on_revoke(consumer, partitions)

    def read_again(self, consumer: Any) -> None:
        """From where the assignment began."""
        if self.starts and not self._stopping():
            if self._incremental:
                consumer.incremental_unassign(self.starts)
            self._hand_to(consumer, self.starts)
        self._intake.clear()

    def _begin(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        # Waits for a previous owner's open transaction (the consumer is read_committed).
        asked = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
        starts = patiently(lambda: _committed(consumer, asked), self._stopping)
        for tp in starts:
            if tp.offset < 0:
                # A number, not "beginning": timer batches commit the offsets of partitions that are still unread.
                tp.offset = patiently(partial(self._first_offset, consumer, tp), self._stopping)
        self.starts = starts
        # The metadata of this very generation: taken later it could be that of a membership lost since,
        # and offsets sent with an empty member id are not fenced at all.
        self.metadata = consumer.consumer_group_metadata()
        assigned = self._listener.assigned({TP(tp.topic, tp.partition): tp.offset for tp in starts})
        self.decoders = self._in_loop(assigned) or {}
        self.lost = False
        if not self._stopping():
            self._hand_to(consumer, starts)

    def _hand_to(self, consumer: Any, starts: list[TopicPartition]) -> None:
        self.held = frozenset()  # an assignment forgets what was paused
        if self._incremental:
            consumer.incremental_assign(starts)
        else:
            consumer.assign(starts)

    def _first_offset(self, consumer: Any, tp: TopicPartition) -> int:
        low, high = consumer.get_watermark_offsets(TopicPartition(tp.topic, tp.partition), timeout=10)
        return int(high if self._from_latest else low)

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What the event loop makes of it; None when the worker stops meanwhile."""
        assert self.loop is not None
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        while True:
            try:
                return future.result(_LOOK_S)
            except TimeoutError:
                if future.done():
                    raise
                if self._stopping():
                    future.cancel()
                    return None


def _committed(consumer: Any, partitions: list[TopicPartition]) -> list[TopicPartition]:
    found: list[TopicPartition] = consumer.committed(partitions, timeout=10)
    for tp in found:
        if tp.error:
            raise KafkaException(tp.error)
    return found


def _places(partitions: list[TopicPartition]) -> set[TP]:
    return {TP(tp.topic, tp.partition) for tp in partitions}
