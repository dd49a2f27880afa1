"""The heart: takes what was fetched, runs it through the agents, commits it; one batch at a time.

The path of a batch:
1. take what the fetch thread gathered; drop it if it is of an older epoch;
2. deliver: one event a partition (BatchSchema) or a record; wait until the last is acknowledged;
3. an agent raised: undo everything, then deliver again record by record; undo only the record that raises, and put
   its dead letter in its place;
4. one transaction: what was sent, the last value of each dirty key, the offsets with the metadata of the assignment;
5. committed: forget the undo logs, move the positions, tell those who wait for commits;
   abandoned: undo everything; whoever owns the partitions next reads the records again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from confluent_kafka import Message, TopicPartition
from faust.types import TP

from .attempt import Attempt
from .errors import Abandoned, EndsTheProcess, Fenced, NoDeadLetter, StoreFailed
from .fetch import Fetcher
from .gathered import Gathered
from .probation import ALONE_AFTER, SET_ASIDE_AFTER, Probation
from .producer import Producer
from .records import FAILED, UNDECODABLE, RawRecord, raw_record
from .stats import Stats
from .stores.after_commit import StoreWrites
from .table import Table
from .table_partition import TablePartition
from .timers import BatchTimer, timer_context
from .transaction import Content, Outgoing
from .watching import Lag, lag

log = logging.getLogger(__name__)

NOTHING: Mapping[TP, list[Any]] = MappingProxyType({})
Changed = list[tuple[Table, TablePartition, list[tuple[Any, Any]]]]


class BatchLoop:
    """Runs on the event loop as Faust's fetcher task; `busy` is held while a batch is between step 1 and 5."""

    def __init__(self, app: Any, fetcher: Fetcher, stats: Stats) -> None:
        self._app = app
        self._fetcher = fetcher
        self._stats = stats
        self._woken = asyncio.Event()
        self._attempt: Attempt | None = None
        self._stopping = False
        self.busy = asyncio.Lock()
        self.ready = False  # partitions are assigned and restored
        self.positions: dict[TP, int] = {}  # next offset to process; moves past markers
        self._offsets: dict[TP, int] = {}  # next offset to commit
        self._newest: dict[TP, float] = {}  # when the last committed record was stamped, in seconds
        self._letters = 0  # dead letters of the running batch
        self.probation = Probation(None)
        self.timers: list[BatchTimer] = []
        self.on_commit: list[Callable[[str, int, Any], object]] = []

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        try:
            while not self._stopping:
                async with self.busy:
                    worked = await self._step()
                if not worked:
                    await self._sleep()
        except (Fenced, NoDeadLetter, StoreFailed) as error:
            self._app.transport.fatal(error)
        except Exception as error:  # state and Kafka may disagree from here: a restart reads both anew
            log.exception("a batch failed for a reason of the transport's own")
            self._app.transport.fatal(error)

    async def finish(self) -> None:
        """Take no more batches and wait for the running one."""
        self._stopping = True
        self._woken.set()
        async with self.busy:
            pass

    def give_up(self) -> None:
        """The running batch will not end: its deliveries are not waited for."""
        self._stopping = True
        if self._attempt is not None:
            self._attempt.give_up()

    def agent_failed(self, error: BaseException) -> None:
        if self._attempt is None or self._attempt.done.is_set():
            self._app.transport.fatal(error)  # outside of any batch: nothing says which record it was
        else:
            self._attempt.fail(error)

    def assigned(self, starts: dict[TP, int]) -> None:
        self.positions = dict(starts)
        self._offsets = dict(starts)

    def revoked(self) -> None:
        self.ready = False
        self.positions = {}
        self._offsets = {}
        self._newest = {}

    def lag(self) -> Lag:
        return lag(self.positions, self._fetcher.ends, self._newest)

    # -- one step

    async def _step(self) -> bool:
        if not self.ready:
            return False
        gathered = self._fetcher.take()
        if gathered is not None:
            await self._run_batch(gathered)
        timers = await self._run_due_timers()
        if self._app.producer.aside and self.ready and self._offsets and not self._stopping:
            await self._commit(dict(self._offsets))
        return gathered is not None or timers

    async def _sleep(self) -> None:
        due = min((timer.due for timer in self.timers), default=None) if self.ready else None
        wait_s = None if due is None else max(due - time.monotonic(), 0)
        try:
            await asyncio.wait_for(self._woken.wait(), wait_s)
        except TimeoutError:
            pass
        self._woken.clear()

    async def _run_batch(self, gathered: Gathered) -> None:
        if gathered.count:
            starts = {tp: messages[0].offset() for tp, messages in gathered.records.items()}
            if self.probation.deaths(starts) >= ALONE_AFTER and not self.probation.over:
                done = await self._run_alone(gathered.records)
            else:
                done = await self._run_records(gathered.records, gathered.values)
            if not done:
                return
            self.probation.end(over=True)
            self._fetcher.decode_ahead = True
        for tp, end in gathered.ends.items():
            if tp in self.positions:
                self.positions[tp] = max(self.positions[tp], end)

    async def _run_records(
        self, records: dict[TP, list[Message]], ahead: Mapping[TP, list[Any]] = NOTHING, *, alone: bool = False
    ) -> bool:
        """Whether they were committed."""
        began = time.perf_counter()
        count = sum(map(len, records.values()))
        self.probation.begin({tp: messages[0].offset() for tp, messages in records.items()}, alone=alone)
        error = await self._deliver(records, ahead)
        if error is not None:
            self._undo()
            if not (self._stopping or not self.ready):
                log.warning("an agent raised %r: running %d records one by one", error, count)
                error = None if await self._run_one_by_one(records) else error
        self.probation.end(over=False)
        if error is not None:
            return False
        self._stats.agent_s += time.perf_counter() - began
        if not await self._commit({tp: messages[-1].offset() + 1 for tp, messages in records.items()}):
            return False
        self._stats.batches += 1
        self._stats.records += count
        self._stats.batch_records_largest = max(self._stats.batch_records_largest, count)
        self._newest.update((tp, messages[-1].timestamp()[1] / 1000.0) for tp, messages in records.items())
        return True

    async def _run_alone(self, records: dict[TP, list[Message]]) -> bool:
        """One record a transaction, for one of them ends the process: the start moves up to it, and then past it."""
        log.warning("a batch that began here ended the process before: running its records one at a time")
        for tp, messages in records.items():
            for message in messages:
                deaths = self.probation.deaths({tp: message.offset()})
                if deaths >= SET_ASIDE_AFTER:
                    why = EndsTheProcess(f"{deaths} processes ended while they had it in work")
                    self.set_aside(raw_record(message), FAILED, why)
                    done = await self._commit({tp: message.offset() + 1})
                else:
                    done = await self._run_records({tp: [message]}, alone=True)
                if not done or self._stopping:
                    return False
        return True

    async def _deliver(
        self, records: dict[TP, list[Message]], ahead: Mapping[TP, list[Any]] = NOTHING
    ) -> BaseException | None:
        app = self._app
        attempt = self._attempt = Attempt(app.consumer_generation_id)
        try:
            for tp, messages in records.items():
                app.topics.deliver(tp, messages, ahead.get(tp), attempt, self._refused)
            attempt.one_ended()
            await attempt.done.wait()
        finally:
            self._attempt = None
        return attempt.error

    def _refused(self, message: Message, error: Exception) -> None:
        self.set_aside(raw_record(message), UNDECODABLE, error)

    async def _run_one_by_one(self, records: dict[TP, list[Message]]) -> bool:
        """False when the worker stopped in the middle; all is undone then."""
        self._stats.reruns += 1
        producer: Producer = self._app.producer
        for tp, messages in records.items():
            for message in messages:
                sent, letters = len(producer.of_batch), self._letters
                for rows in self._all_rows():
                    rows.begin_record()
                error = await self._deliver({tp: [message]})
                self._end_record(keep=error is None)
                if error is not None:
                    if self._stopping:
                        self._undo()
                        return False
                    del producer.of_batch[sent:]
                    self._letters = letters
                    self.set_aside(raw_record(message), FAILED, error)
        return True

    def _end_record(self, keep: bool) -> None:
        for rows in self._all_rows():
            rows.end_record(keep)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What is written and sent within is undone if it raises, and the batch goes on; no await within."""
        producer: Producer = self._app.producer
        sent, letters = len(producer.of_batch), self._letters
        parts = [(rows, rows.begin_part()) for rows in self._all_rows()]
        try:
            yield
        except BaseException:
            for rows, before in parts:
                rows.end_part(before, keep=False)
            del producer.of_batch[sent:]
            self._letters = letters
            raise
        for rows, before in parts:
            rows.end_part(before, keep=True)

    def set_aside(self, record: RawRecord, reason: str, error: BaseException) -> None:
        """Put a record's dead letter into the running batch's transaction."""
        hook = self._app.transport.options.dead_letter
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        if hook is None:
            raise NoDeadLetter(f"{place} is {reason}: {error!r}; no dead_letter hook is set") from error
        log.warning("dead letter: %s is %s: %r", place, reason, error)
        topic, key, value, headers = hook(record, reason, error)
        self._app.producer.of_batch.append((topic, key, value, -1, headers, 0))
        self._letters += 1

    async def _run_due_timers(self) -> bool:
        ran = False
        for timer in self.timers:
            if not self.ready or not self._offsets or self._stopping or timer.due > time.monotonic():
                continue
            with timer_context():
                await timer.function()
            timer.due = time.monotonic() + timer.interval_s
            if self._app.producer.of_batch or any(changed for _, _, changed in self._changed()):
                await self._commit(dict(self._offsets))
                self._stats.timer_batches += 1
            ran = True
        return ran

    # -- the transaction

    async def _commit(self, offsets: dict[TP, int]) -> bool:
        """Whether it was committed. If not, all was undone, but for what was sent aside."""
        app, fetcher = self._app, self._fetcher
        producer: Producer = app.producer
        epoch = fetcher.epoch
        aside, producer.aside = producer.aside, []
        changed = self._changed()
        records: list[Outgoing] = [*producer.of_batch, *aside]
        content = Content(
            records,
            len(records),
            [TopicPartition(tp.topic, tp.partition, offset) for tp, offset in offsets.items()],
            fetcher.metadata,
            lambda: fetcher.epoch == epoch,
        )
        records.extend(_changelog_records(changed))
        stores = StoreWrites(((table.changelog_topic_name, rows) for table, rows, _ in changed), self._stats)
        try:
            await asyncio.get_running_loop().run_in_executor(producer.pool, self._write, content, stores)
        except Abandoned as why:
            log.warning("batch abandoned: %s", why)
            self._stats.abandoned += 1
            producer.aside = aside + producer.aside
            self._undo()
            self._await_rebalance()
            return False
        producer.of_batch = []
        self._stats.dead_letters += self._letters
        self._letters = 0
        self._stats.outputs += content.changelog_at
        self._stats.changelog_records += len(records) - content.changelog_at
        self._offsets.update(offsets)
        for tp, offset in offsets.items():
            self.positions[tp] = max(self.positions.get(tp, 0), offset)
        self._committed(changed, content)
        return True

    def _write(self, content: Content, stores: StoreWrites) -> None:
        """In the commit thread, so that the stores' order is the changelogs'."""
        self._app.producer.transactions.run(content)
        stores.write(content.records[content.changelog_at :], content.changelog_offsets)

    def _await_rebalance(self) -> None:
        """The group has moved on, so a rebalance must come; a worker that sees none would idle for ever."""
        self.ready = False
        self._fetcher.drop_until_rebalance()
        epoch = self._fetcher.epoch

        def check() -> None:
            if self._fetcher.epoch == epoch and not self._stopping:
                self._app.transport.fatal(Fenced("out of the group, and no rebalance came"))

        patience_s = 3 * self._app.transport.options.session_timeout_ms / 1000
        asyncio.get_running_loop().call_later(patience_s, check)

    def _committed(self, changed: Changed, content: Content) -> None:
        for table, rows, _ in changed:
            rows.committed_now()
            last = content.changelog_offsets.get((table.changelog_topic_name, rows.number))
            if last is not None:
                rows.changelog_offset = last
        for table, rows, changes in changed:
            if changes:
                keys = [key for key, _ in changes]
                for callback in self.on_commit:
                    callback(table.name, rows.number, keys)

    def _changed(self) -> Changed:
        return [
            (table, rows, rows.changes())
            for table in self._app.tables.values()
            for rows in table.owned().values()
            if rows.undo
        ]

    def _undo(self) -> None:
        self._app.producer.of_batch = []
        self._letters = 0
        for rows in self._all_rows():
            rows.roll_back()

    def _all_rows(self) -> Iterator[TablePartition]:
        for table in self._app.tables.values():
            yield from table.owned().values()


def _changelog_records(changed: Changed) -> Iterator[Outgoing]:
    for table, rows, changes in changed:
        topic, number = table.changelog_topic_name, rows.number
        keys, values = table.key_codec.dumps, table.value_codec.dumps
        for key, value in changes:
            yield topic, keys(key), None if value is None else values(value), number, None, 0
