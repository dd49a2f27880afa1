"""Runs a replay: reads its ranges, hands what is meant to the target, and keeps row and effect together.

A batch: 1. records to the target; 2. the target makes them durable (a file), or the journal's transaction holds them
(a topic); 3. the row with the new positions is committed. A kill between any two of them leaves the row of the batch
before, and the target is as that row says once the next process has claimed it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event

from schemas.codec import Codec
from schemas.errors import Undecodable
from tally.reading.reader import Reader, Record, Unreachable
from tally.replaying.choosing import Choice
from tally.replaying.errors import ReplayError, TakenOver
from tally.replaying.journal import Journal
from tally.replaying.standing import SIGN_EVERY_S, Act, Progress, Replay, Standing, State, Wished
from tally.replaying.targets import Target

# Kafka commits a batch in some 10 ms, a file in about as long; at this size that is lost in the work itself.
BATCH_RECORDS_MAX = 2_000
BATCH_S = 1.0
# A rate is kept within this part of a second; wishes are heard as often.
SLICE_S = 0.2

Say = Callable[[Standing], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a replay works with; `stop` is set by a signal, `wished` tells of a pause that others wish for."""

    reader: Reader
    journal: Journal
    target: Target
    codec: Codec
    stop: Event
    wished: Wished = lambda: None
    say: Say = lambda _: None


class Running:
    """One process' work at a replay, from a standing to its end or its next pause."""

    def __init__(self, replay: Replay, progress: Progress, parts: Parts) -> None:
        self._replay, self._progress, self._parts = replay, progress, parts
        self._choice, self._pace = Choice(replay.bounds, parts.codec), Pace(replay.rate)
        self._pending = 0
        self._began = self._committed_at = self._heard_at = self._looked_at = time.monotonic()
        self._active_before_s, self._written_then = progress.active_s, progress.written
        self._last: Standing | None = None
        self._wish: Act | None = None

    def run(self) -> Standing:
        """Replays to the end, or until it is to pause; a failure stands in the row, where that can be written.

        Raises TakenOver, CannotGoOn, Unreachable, and what a function that shows records raises.
        """
        try:
            return self._run()
        except (TakenOver, Unreachable):
            self._parts.journal.abort()
            raise
        except Exception as error:
            self._parts.journal.abort()
            self._note_failure(str(error) or type(error).__name__)
            raise

    def begin(self, act: Act) -> None:
        """Writes the row for the first time in this process, and with it into the audit trail who began it, and why."""
        self._note(act)
        self._commit(State.RUNNING)

    def _run(self) -> Standing:
        positions = self._progress.positions
        ends = {each.place: each.end for each in self._replay.ranges}
        if self._is_full():
            return self._commit(State.DONE)
        for record in self._parts.reader.read(dict(positions), ends):
            if record is not None:
                self._take(record)
                if self._is_full():
                    return self._commit(State.DONE)
            if self._is_due():
                self._commit(State.RUNNING)
                self._wait()
            if self._must_pause():
                return self._pause()
        # Behind the last record there may be markers of transactions.
        positions.update(ends)
        return self._commit(State.DONE)

    def _pause(self) -> Standing:
        if self._wish is not None:
            self._note(self._wish)
        return self._commit(State.PAUSED, f"tally replay run --resume {self._replay.id}")

    def _note(self, act: Act) -> None:
        self._parts.journal.note(act, self._replay, self._parts.codec)

    def _take(self, record: Record) -> None:
        progress = self._progress
        progress.read += 1
        try:
            message = self._choice.choose(record)
        except Undecodable as error:
            progress.fault(f"{record.topic}/{record.partition}/{record.offset}: {error.reason}")
        else:
            if message is not None:
                if self._pending == 0:
                    self._pace.begin()
                self._parts.target.put(record, message)
                self._pending += 1
                progress.written += 1
                type_ = message.envelope.type
                progress.by_type[type_] = progress.by_type.get(type_, 0) + 1
        progress.positions[record.topic, record.partition] = record.offset + 1

    def _commit(self, state: State, note: str = "") -> Standing:
        """Ends a batch: effect, then the row; or both at once."""
        progress, now = self._progress, time.monotonic()
        progress.length = self._parts.target.settle()
        progress.active_s = round(self._active_before_s + now - self._began, 3)
        if now - self._looked_at >= BATCH_S:
            progress.records_per_second = round((progress.written - self._written_then) / (now - self._looked_at), 1)
            self._looked_at, self._written_then = now, progress.written
        standing = Standing(self._replay, state, _copy(progress), _now_ms(), note)
        self._parts.journal.commit(standing)
        self._pace.end(self._pending)
        self._pending, self._committed_at, self._last = 0, now, standing
        self._parts.say(standing)
        return standing

    def _is_due(self) -> bool:
        passed_s = time.monotonic() - self._committed_at
        if self._pending == 0:
            # What is read and not meant is progress too, and somebody may look.
            return passed_s >= SIGN_EVERY_S
        return self._pending >= self._pace.batch_records or passed_s >= BATCH_S

    def _is_full(self) -> bool:
        records_max = self._replay.bounds.records_max
        return records_max is not None and self._progress.written >= records_max

    def _wait(self) -> None:
        """Until the next record is due, or somebody asks for a pause."""
        while (ahead_s := self._pace.ahead_s()) > 0 and not self._must_pause():
            self._parts.stop.wait(min(ahead_s, SLICE_S))

    def _must_pause(self) -> bool:
        now = time.monotonic()
        if now - self._heard_at >= SLICE_S:
            self._heard_at = now
            self._wish = self._parts.wished() or self._wish
            if self._wish is not None:
                self._parts.stop.set()
        return self._parts.stop.is_set()

    def _note_failure(self, reason: str) -> None:
        """With the last progress that is durable; the batch that failed is undone."""
        if self._last is None:
            return
        try:
            self._parts.journal.commit(replace(self._last, state=State.FAILED, at_ms=_now_ms(), note=reason))
        except (ReplayError, Unreachable):
            pass  # the row then tells of a process that gives no sign any more


class Pace:
    """At most `rate` records a second, and no more after a pause to catch up; None is as fast as it goes."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._due = self._batch_began = 0.0

    @property
    def batch_records(self) -> int:
        """How many records one batch may hold."""
        if self._rate is None:
            return BATCH_RECORDS_MAX
        return min(BATCH_RECORDS_MAX, max(1, int(self._rate * SLICE_S)))

    def begin(self) -> None:
        """A batch begins."""
        self._batch_began = time.monotonic()

    def end(self, records: int) -> None:
        """A batch of so many records has ended."""
        if self._rate is not None:
            self._due = max(self._due, self._batch_began) + records / self._rate

    def ahead_s(self) -> float:
        """How long to wait until the next record is due."""
        return 0.0 if self._rate is None else self._due - time.monotonic()


def _copy(progress: Progress) -> Progress:
    return replace(
        progress,
        positions=dict(progress.positions),
        by_type=dict(progress.by_type),
        faults=list(progress.faults),
    )


def _now_ms() -> int:
    return round(time.time() * 1_000)
