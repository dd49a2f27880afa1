"""The Faust app of this transport: its options, and the few methods that Faust has no name for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import faust
from faust.types import TP
from mode.utils.futures import maybe_async

from .fatal import end_process
from .global_table import GlobalTable
from .options import Options
from .probation import Probation
from .producer import milliseconds
from .records import Headers, RawRecord
from .recovery import TableManager
from .stats import Stats
from .supervisor import RestartAtOnce
from .table import Table
from .timers import BatchTimer
from .topics import declare_changelogs
from .watching import Lag, line

# Between two looks whether a rebalance is over.
_LOOK_S = 0.05


class App(faust.App):
    """A faust.App whose batches are Kafka transactions. Options beside Faust's settings: see `Options`."""

    def __init__(self, id: str, **settings: Any) -> None:
        own = {f.name: settings.pop(f.name) for f in fields(Options) if f.name in settings}
        self.options = Options(**own)
        self.stats = Stats()
        # Only a slot of its own and a folder that was meant for it: a mark of another process would count for ours.
        folder, slot = settings.get("datadir"), self.options.instance
        self._mark = Path(folder) / f"{id}-{slot}.in-work" if folder and slot is not None else None
        self._restored_hooks: list[Callable[[set[int]], Any]] = []
        self._dropped_hooks: list[Callable[[set[int]], Any]] = []
        self._timers: list[BatchTimer] = []
        self._commit_hooks: list[Callable[[str, int, Collection[Any]], object]] = []
        settings.setdefault("Table", Table)
        settings.setdefault("GlobalTable", GlobalTable)
        settings.setdefault("TableManager", TableManager)
        settings.setdefault("agent_supervisor", RestartAtOnce)
        settings.setdefault("store", "memory://")
        settings.setdefault("topic_disable_leader", True)
        # The consumer waits for the running batch by itself, with its own bound.
        settings.setdefault("stream_wait_empty", False)
        super().__init__(id, **settings)

    @property
    def in_transaction(self) -> bool:
        """Never Faust's own transactions: one for each partition and destination, they split a batch."""
        return False

    @property
    def ready(self) -> bool:
        """Partitions are assigned and their tables restored."""
        return self._consumer is not None and bool(self._consumer.batches.ready)

    def is_leader(self) -> bool:
        """Whether partition 0 is ours: it has one owner at a time, so `on_leader` timers run in one worker."""
        return self._consumer is not None and any(tp.partition == 0 for tp in self._consumer.assignment())

    def lag(self) -> Lag:
        """How far behind this worker is, by what the last fetches said."""
        return self._consumer.batches.lag() if self._consumer is not None else Lag(0, 0.0)

    def line(self) -> str:
        """What this worker does, in one line."""
        name = f"{self.conf.id}-{self.options.instance}" if self.options.instance is not None else str(self.conf.id)
        partitions = len(self._consumer.assignment()) if self._consumer is not None else 0
        return line(name, self.ready, partitions, self.lag(), self.stats)

    def emit(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None = None,
        partition: int | None = None,
        timestamp: float | None = None,
    ) -> None:
        """Put a record into the running batch's transaction. `timestamp` is in seconds."""
        self.producer.add(
            (
                topic,
                key,
                value,
                -1 if partition is None else partition,
                headers,
                0 if timestamp is None else milliseconds(timestamp),
            )
        )

    def set_aside(self, record: RawRecord, reason: str, error: BaseException) -> None:
        """Send a record's dead letter, by the hook, in the running batch's transaction; NoDeadLetter without one."""
        self.consumer.batches.set_aside(record, reason, error)

    def savepoint(self) -> AbstractContextManager[None]:
        """In an agent, around a part of its work: what it writes and emits is undone if it raises. No await within."""
        savepoint: AbstractContextManager[None] = self.consumer.batches.commits.savepoint()
        return savepoint

    def hold(self, partitions: Collection[TP]) -> None:
        """Read nothing more of exactly these partitions until the next call; what was fetched already still comes."""
        self.consumer.fetcher.hold(frozenset(partitions))

    def batch_timer(self, interval_s: float) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
        """Call a coroutine function between batches, each time in a fenced transaction of its own."""

        def declare(function: Callable[[], Any]) -> Callable[[], Any]:
            self._timers.append(BatchTimer(interval_s, function))
            return function

        return declare

    def hasten(self, function: Callable[[], Any]) -> None:
        """The batch timer of this function is due now, and at once again when it says so while it runs."""
        for timer in self._timers:
            # By equality: a bound method is another object each time that it is named.
            if timer.function == function:
                timer.hastened = True
        if self._consumer is not None:
            self._consumer.batches.wake()

    @asynccontextmanager
    async def between_batches(self) -> AsyncIterator[None]:
        """No batch runs and no partition comes or goes within: tables stand where the last commit left them."""
        while True:
            if self._consumer is not None:
                async with self._consumer.batches.busy:
                    if self.ready:
                        yield
                        return
            await asyncio.sleep(_LOOK_S)

    async def begin_table(self, name: str, **options: Any) -> Table:
        """A table that comes while the app runs, with its changelog: part of every batch from the next one on."""
        table: Table = self.conf.Table(self, name=name, beacon=self.tables.beacon, **options)
        async with self.between_batches():
            await declare_changelogs(self, self.consumer.partitions, [table])
            await self.tables.take_in(table)
        return table

    async def end_table(self, table: Table, *, remove: bool = False) -> None:
        """Let go of a table while the app runs; with `remove` its files here go too. The changelog stays."""
        async with self.between_batches():
            await self.tables.let_go(table, remove=remove)

    def on_partitions_restored(self, callback: Callable[[set[int]], Any]) -> Callable[[set[int]], Any]:
        """Call with partition numbers when their tables are restored, before their first record."""
        self._restored_hooks.append(callback)
        return callback

    def on_partitions_dropped(self, callback: Callable[[set[int]], Any]) -> Callable[[set[int]], Any]:
        """Call with partition numbers when their tables were let go."""
        self._dropped_hooks.append(callback)
        return callback

    def on_commit(
        self, callback: Callable[[str, int, Collection[Any]], object]
    ) -> Callable[[str, int, Collection[Any]], object]:
        """Call with (table name, partition, keys) after each commit, for each table partition that changed."""
        self._commit_hooks.append(callback)
        return callback

    async def tell_restored(self, partitions: set[int]) -> None:
        for hook in self._restored_hooks:
            await maybe_async(hook(set(partitions)))

    async def tell_dropped(self, partitions: set[int]) -> None:
        for hook in self._dropped_hooks:
            await maybe_async(hook(set(partitions)))

    def fatal(self, error: BaseException | None) -> None:
        """End the process: what it holds in memory and what Kafka holds may differ from here."""
        end_process(error)

    # -- Faust's hooks

    def _create_directories(self) -> None:
        """None: a persistent store makes its own, and an app without one leaves nothing where it was started."""

    def _new_consumer(self) -> Any:
        consumer = super()._new_consumer()
        consumer.batches.timers = self._timers
        consumer.batches.probation = Probation(self._mark)
        consumer.batches.commits.hooks = self._commit_hooks
        return consumer

    async def on_stop(self) -> None:
        if self._consumer is not None and self._consumer.started:
            await self._consumer.finish()
        await super().on_stop()
