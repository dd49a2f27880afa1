"""The thread that owns librdkafka's consumer: it gathers records while the event loop works, and serves rebalances."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Coroutine
from functools import partial
from typing import Any, Protocol, TypeVar

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from faust.types import TP

from .gathered import Gathered, Run, by_partition, decoded, size_of
from .options import Options
from .records import BatchSchema
from .restore import patiently
from .stats import Stats

log = logging.getLogger(__name__)

T = TypeVar("T")

_IDLE_S = 0.2  # how late a stop or a subscription can be noticed; data and rebalances wake the poll at once
_BUSY_S = 0.002  # while the loop works: gather in larger grabs instead of one wake-up a record


class Listener(Protocol):
    """What the consumer does, on the event loop, when partitions come and go."""

    async def assigned(self, starts: dict[TP, int]) -> dict[TP, BatchSchema]: ...
    async def revoked(self, partitions: set[TP]) -> None: ...
    def wake(self) -> None: ...
    def failed(self, error: BaseException) -> None: ...


class Fetcher:
    """Started once; `take` and `epoch` are for the event loop, the rest happens in the thread."""

    def __init__(self, config: dict[str, Any], options: Options, listener: Listener, stats: Stats) -> None:
        self._config = config
        self._options = options
        self._listener = listener
        self._stats = stats
        self._linger_s = options.batch_linger_ms / 1000
        # KIP-848 gives and takes single partitions; the classic protocol with range whole assignments.
        self._incremental = options.group_protocol == "consumer"
        self._lock = threading.Lock()
        self._room = threading.Event()
        self._gathered = Gathered()
        self._carry: deque[Message] = deque()
        self._hungry = False
        self._dropping = False
        self._stop = False
        self._subscription: list[str] | None = None
        self._starts: list[TopicPartition] = []
        self._wanted_held: frozenset[TP] = frozenset()
        self._held: frozenset[TP] = frozenset()
        self._decoders: dict[TP, BatchSchema] = {}
        self.decode_ahead = False  # the first batch is decoded where a death can be told apart
        self.epoch = 0  # counts assignments and revocations: what was read before a change is never used after it
        self.metadata: Any = None  # the group's, of the present assignment
        self.lost = False
        self.ends: dict[TP, int] = {}  # known ends of the partitions, at most `_IDLE_S` old while polling
        self._ends_at = 0.0

    # -- event loop

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._consumer = confluent_kafka.Consumer(self._config, logger=log)
        self._thread = threading.Thread(target=self._run, name="rdkafka-fetch", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        self._stop = True
        self._room.set()
        await self._loop.run_in_executor(None, self._thread.join, 30)

    def subscribe(self, topics: list[str]) -> None:
        self._subscription = topics

    def take(self) -> Gathered | None:
        """What is there; None when nothing is, and then the listener is woken as soon as there is."""
        with self._lock:
            if self._ready():
                gathered, self._gathered = self._gathered, Gathered()
                self._hungry = False
                self._room.set()
                return gathered
            self._hungry = True
            return None

    def hold(self, partitions: frozenset[TP]) -> None:
        """Read nothing more of these partitions, and of all others again; done before the next poll."""
        self._wanted_held = partitions

    def drop_until_rebalance(self) -> None:
        """The group moved on without us: keep polling for the rebalance and throw records away."""
        with self._lock:
            self._dropping = True
            self._clear()
        self._room.set()

    # -- thread

    def _run(self) -> None:
        try:
            while not self._stop:
                if self._subscription is not None:
                    topics, self._subscription = self._subscription, None
                    self._consumer.subscribe(
                        topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
                    )
                self._gather()
            self._consumer.close()
        except BaseException as error:
            self._loop.call_soon_threadsafe(self._listener.failed, error)

    def _gather(self) -> None:
        self._note_ends()
        self._apply_holds()
        room = self._refill()
        if room <= 0 and not self._dropping:
            self._room.wait(_IDLE_S)
            self._room.clear()
            return
        room = max(room, 1)
        epoch = self.epoch
        first = self._consumer.poll(self._patience_s())
        if first is None:
            self._hand_over()
            return
        began = time.perf_counter()
        messages = [first]
        if room > 1:
            messages += self._consumer.consume(room - 1, 0 if self._hungry else _BUSY_S)
        if self.epoch != epoch:
            # A rebalance came in the middle: these may be of either assignment, read them again.
            self._read_again()
            return
        if not self._dropping:
            self._keep(messages)
            self._hand_over()
        self._stats.fetch_s += time.perf_counter() - began

    def _apply_holds(self) -> None:
        wanted = self._wanted_held & _places(self._starts)
        if wanted == self._held:
            return
        self._consumer.pause([TopicPartition(tp.topic, tp.partition) for tp in wanted - self._held])
        self._consumer.resume([TopicPartition(tp.topic, tp.partition) for tp in self._held - wanted])
        self._held = wanted

    def _note_ends(self) -> None:
        """The high watermarks that the last fetches brought; nothing is asked of the broker.

        In this thread: called from another one it waits for the poll that goes on here, for ever as seen.
        """
        now = time.monotonic()
        if now < self._ends_at + _IDLE_S:
            return
        self._ends_at = now
        ends = {}
        for tp in self._starts:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(tp.topic, tp.partition), cached=True)
            ends[TP(tp.topic, tp.partition)] = int(high)
        self.ends = ends

    def _patience_s(self) -> float:
        with self._lock:
            if self._hungry and self._gathered.count:
                return max(self._gathered.since + self._linger_s - time.monotonic(), 0)
        return _IDLE_S

    def _keep(self, messages: list[Message]) -> None:
        groups, others = by_partition(messages)
        decoders = self._decoders if self.decode_ahead else {}
        began = time.perf_counter()
        runs = [(decoded(tp, group, decoders), size_of(group)) for tp, group in groups.items()]
        took_s = time.perf_counter() - began
        self._stats.decode_s += took_s
        self._stats.fetch_s -= took_s  # the caller counts the whole
        with self._lock:
            fits = self._gathered.size_bytes + sum(size for _, size in runs) <= self._options.batch_bytes_max
            if fits and not self._carry:
                for run, size_bytes in runs:
                    self._gathered.add(run, size_bytes)
                for message in others:
                    self._note(message)
            else:
                for message in messages:
                    self._add(message)

    def _add(self, message: Message) -> None:
        if message.error() is not None:
            self._note(message)
            return
        gathered, options, size_bytes = self._gathered, self._options, size_of([message])
        full = gathered.count >= options.batch_records_max or (
            gathered.count and gathered.size_bytes + size_bytes > options.batch_bytes_max
        )
        if self._carry or full:
            self._carry.append(message)
        else:
            gathered.add(Run(TP(message.topic(), message.partition()), [message], None), size_bytes)

    def _note(self, message: Message) -> None:
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            # After all its records: those in `_carry` come later, so this end is not yet reached.
            if not self._carry:
                self._gathered.ends[TP(message.topic(), message.partition())] = message.offset()
        elif error.fatal():
            raise KafkaException(error)
        else:
            log.warning("consumer: %s", error)

    def _refill(self) -> int:
        """Move what did not fit into the last batch into this one; how many records there is room for."""
        with self._lock:
            carried, self._carry = self._carry, deque()
            while carried:
                if self._carry:
                    self._carry.extend(carried)
                    break
                self._add(carried.popleft())
            if self._carry or self._gathered.size_bytes >= self._options.batch_bytes_max:
                room = 0
            else:
                room = self._options.batch_records_max - self._gathered.count
        self._hand_over()
        return room

    def _ready(self) -> bool:
        gathered = self._gathered
        if not gathered.count:
            return bool(gathered.ends)
        if not self._linger_s or self._carry or gathered.count >= self._options.batch_records_max:
            return True
        return time.monotonic() - gathered.since >= self._linger_s

    def _hand_over(self) -> None:
        with self._lock:
            if not (self._hungry and self._ready()):
                return
            self._hungry = False
        self._loop.call_soon_threadsafe(self._listener.wake)

    def _clear(self) -> None:
        self._gathered = Gathered()
        self._carry.clear()

    def _read_again(self) -> None:
        if self._starts and not self._stop:
            if self._incremental:
                self._consumer.incremental_unassign(self._starts)
            self._hand_to(self._consumer, self._starts)
        with self._lock:
            self._clear()

    # -- rebalance callbacks: they run in the thread, inside poll or consume

    def _new_epoch(self) -> None:
        with self._lock:
            self.epoch += 1
            self._clear()
            self._dropping = False

    def _on_assign(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._new_epoch()
        self._stats.rebalances += 1
        held = self._starts if self._incremental else []
        if held:
            # Faust knows whole assignments only: what stays is given back and comes again with the rest.
            self._in_loop(self._listener.revoked(_places(held)))
            consumer.incremental_unassign(held)
        self._begin(consumer, [*held, *partitions])

    def _begin(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        # Waits for a previous owner's open transaction (the consumer is read_committed).
        asked = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
        starts = patiently(lambda: _committed(consumer, asked), lambda: self._stop)
        for tp in starts:
            if tp.offset < 0:
                # A number, not "beginning": timer batches commit the offsets of partitions that are still unread.
                tp.offset = patiently(partial(self._first_offset, consumer, tp), lambda: self._stop)
        self._starts = starts
        # The metadata of this very generation: taken later it could be that of a membership lost since,
        # and offsets sent with an empty member id are not fenced at all.
        self.metadata = consumer.consumer_group_metadata()
        assigned = self._listener.assigned({TP(tp.topic, tp.partition): tp.offset for tp in starts})
        self._decoders = self._in_loop(assigned) or {}
        self.lost = False
        if not self._stop:
            self._hand_to(consumer, starts)

    def _hand_to(self, consumer: Any, starts: list[TopicPartition]) -> None:
        self._held = frozenset()  # an assignment forgets what was paused
        if self._incremental:
            consumer.incremental_assign(starts)
        else:
            consumer.assign(starts)

    def _first_offset(self, consumer: Any, tp: TopicPartition) -> int:
        low, high = consumer.get_watermark_offsets(TopicPartition(tp.topic, tp.partition), timeout=10)
        return int(high if self._config.get("auto.offset.reset") == "latest" else low)

    def _on_revoke(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._new_epoch()
        held, self._starts = self._starts, []
        gone = _places(partitions)
        self._in_loop(self._listener.revoked(_places(held) | gone))
        if not self._incremental:
            consumer.unassign()
            return
        consumer.incremental_unassign(held)
        kept = [tp for tp in held if TP(tp.topic, tp.partition) not in gone]
        if kept and not self._stop:
            self._begin(consumer, kept)

    def _on_lost(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        # Another worker may own them already; the running transaction will be refused.
        log.warning("partitions lost: %s", partitions)
        self.lost = True
        self._on_revoke(consumer, partitions)

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What the event loop makes of it; None when the worker stops meanwhile."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        while True:
            try:
                return future.result(0.5)
            except TimeoutError:
                if future.done():
                    raise
                if self._stop:
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
