"""The heart: takes what was fetched, runs it through the agents, commits it; one batch at a time.

The path of a batch:
1. take what the fetch thread gathered; drop it if it is of an older epoch;
2. deliver: one event a partition (BatchSchema) or a record; wait until the last is acknowledged;
3. an agent raised: undo everything, then deliver again record by record; undo only the record that raises, and put
   its dead letter in its place;
4. one transaction: what was sent, the last value of each dirty key, the offsets with the metadata of the assignment;
5. committed: forget the undo logs, move the positions, tell those who wait for commits;
   abandoned: undo everything; whoever owns the partitions next reads the records again.
Steps 2 and 3 are in `delivering`, 4 and 5 in `commits`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from faust.types import TP

from .commits import Commits
from .delivering import NOTHING, Deliveries, Records
from .errors import EndsTheProcess, Fenced, NoDeadLetter, StoreFailed
from .fetch import Fetcher
from .gathered import Gathered
from .probation import ALONE_AFTER, SET_ASIDE_AFTER, Probation
from .records import FAILED, RawRecord, raw_record
from .stats import Stats
from .timers import BatchTimer
from .watching import Lag, lag

log = logging.getLogger(__name__)


class BatchLoop:
    """Runs on the event loop as Faust's fetcher task; `busy` is held while a batch is between step 1 and 5."""

    def __init__(self, app: Any, fetcher: Fetcher, stats: Stats) -> None:
        self._app = app
        self._fetcher = fetcher
        self._stats = stats
        self._woken = asyncio.Event()
        self._stopping = False
        self.busy = asyncio.Lock()
        self.ready = False  # partitions are assigned and restored
        self.commits = Commits(app, fetcher, stats)
        self._deliveries = Deliveries(app, self.commits, stats, lambda: self._stopping)
        self._newest: dict[TP, float] = {}  # when the last committed record was stamped, in seconds
        self.probation = Probation(None)
        self.timers: list[BatchTimer] = []

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
        self._deliveries.give_up()

    def agent_failed(self, error: BaseException) -> None:
        self._deliveries.agent_failed(error)

    def assigned(self, starts: dict[TP, int]) -> None:
        self.commits.assigned(starts)

    def revoked(self) -> None:
        self.ready = False
        self.commits.revoked()
        self._newest = {}

    def lag(self) -> Lag:
        return lag(self.commits.positions, self._fetcher.ends, self._newest)

    def set_aside(self, record: RawRecord, reason: str, error: BaseException) -> None:
        """Put a record's dead letter into the running batch's transaction."""
        self.commits.set_aside(record, reason, error)

    # -- one step

    async def _step(self) -> bool:
        if not self.ready:
            return False
        gathered = self._fetcher.take()
        if gathered is not None:
            await self._run_batch(gathered)
        timers = await self._run_due_timers()
        if self._app.producer.aside and self.ready and self.commits.offsets and not self._stopping:
            await self._commit(dict(self.commits.offsets))
        return gathered is not None or timers

    async def _sleep(self) -> None:
        due = min((0.0 if t.hastened else t.due for t in self.timers), default=None) if self.ready else None
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
        self.commits.passed(gathered.ends)

    async def _run_records(
        self, records: Records, ahead: Mapping[TP, list[Any]] = NOTHING, *, alone: bool = False
    ) -> bool:
        """Whether they were committed."""
        began = time.perf_counter()
        count = sum(map(len, records.values()))
        self.probation.begin({tp: messages[0].offset() for tp, messages in records.items()}, alone=alone)
        error = await self._deliveries.deliver(records, ahead)
        if error is not None:
            self.commits.undo()
            if not (self._stopping or not self.ready):
                log.warning("an agent raised %r: running %d records one by one", error, count)
                error = None if await self._deliveries.deliver_one_by_one(records) else error
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

    async def _run_alone(self, records: Records) -> bool:
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

    async def _run_due_timers(self) -> bool:
        ran = False
        for timer in self.timers:
            if not self.ready or not self.commits.offsets or self._stopping or not timer.is_due():
                continue
            await timer.run()
            if self.commits.has_work():
                await self._commit(dict(self.commits.offsets))
                self._stats.timer_batches += 1
            ran = True
        return ran

    async def _commit(self, offsets: dict[TP, int]) -> bool:
        """Whether it was committed; if not, the group has moved on."""
        committed = await self.commits.commit(offsets)
        if not committed:
            self._await_rebalance()
        return committed

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
