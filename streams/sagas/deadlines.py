"""Which sagas are due: a heap of deadlines per partition, made anew from the rows of `order_sagas`.

Deadlines of rows that have changed since are found void when they come up, and twice the same one is sent under one id:
so the rows may be gone through in pieces while batches change them.

A deadline fires in three steps (design 3.15), so that an outage of ours never cancels what was answered in time:
1. its moment comes, and the end offsets of the saga's inputs in that partition are noted;
2. the inputs are read up to there, which may well end the wait;
3. if the saga still waits, DEADLINE_PASSED is sent and goes through the agent like any other message.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from streams.outgoing import Outgoing
from streams.sagas.inputs import deadline_passed
from streams.sagas.state import OrderSaga, Row, due_of, from_row

# A deadline that was sent is looked at once more after this: a batch that was abandoned took its message with it.
RESEND_AFTER = timedelta(seconds=30)

Offsets = dict[str, int]
Rows = Mapping[str, Row]


class Entry(NamedTuple):
    """One deadline: look at it from `at` on."""

    at: datetime
    order_id: str
    step: str
    due_at: datetime


@dataclass(slots=True)
class _Wave:
    """Deadlines that fell due together, and the offsets, by topic, that are to be read before they fire."""

    entries: list[Entry]
    read_up_to: Offsets


@dataclass(slots=True)
class _Partition:
    heap: list[Entry] = field(default_factory=list)
    waves: list[_Wave] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Inputs:
    """How far the inputs of a partition reach, and how far they were read: offsets by topic, None for not ours."""

    end_offsets: Callable[[int], Awaitable[Offsets]]
    positions: Callable[[int], Offsets | None]


class Deadlines:
    """The deadlines of all partitions that this worker owns."""

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def begin(self, partition: int) -> None:
        """Starts anew with nothing."""
        self._partitions[partition] = _Partition()

    def add(self, partition: int, entries: Iterable[Entry]) -> None:
        """Takes up deadlines of rows that are there."""
        heap = self._partitions[partition].heap
        for entry in entries:
            heapq.heappush(heap, entry)

    def drop(self, partition: int) -> None:
        """Forgets a partition."""
        self._partitions.pop(partition, None)

    def note(self, partition: int, sagas: Iterable[OrderSaga]) -> None:
        """Takes up the deadlines of sagas that changed; old ones are found void when they come up."""
        known = self._partitions.setdefault(partition, _Partition())
        for saga in sagas:
            for step, due_at in saga.due:
                heapq.heappush(known.heap, Entry(due_at, saga.order_id, step, due_at))

    async def fire(self, partition: int, rows: Rows, inputs: Inputs, now: datetime) -> list[Outgoing]:
        """The messages that are to be sent now."""
        known = self._partitions.get(partition)
        if known is None:
            return []
        entries = _pop_due(known.heap, rows, now)
        if entries:
            known.waves.append(_Wave(entries, await inputs.end_offsets(partition)))
        read = inputs.positions(partition)
        out = []
        while known.waves and read is not None and _reaches(read, known.waves[0].read_up_to):
            for entry in known.waves.pop(0).entries:
                if _is_waiting(rows, entry):
                    saga = from_row(rows[entry.order_id])
                    out.append(deadline_passed(saga, entry.step, entry.due_at, now))
                    heapq.heappush(known.heap, entry._replace(at=now + RESEND_AFTER))
        return out


def entries_of(row: Row) -> tuple[Entry, ...]:
    """The deadlines of a saga's row."""
    return tuple(Entry(due_at, row["order_id"], step, due_at) for step, due_at in due_of(row))


def _pop_due(heap: list[Entry], rows: Rows, now: datetime) -> list[Entry]:
    entries = []
    while heap and heap[0].at <= now:
        entry = heapq.heappop(heap)
        if _is_waiting(rows, entry):
            entries.append(entry)
    return entries


def _is_waiting(rows: Rows, entry: Entry) -> bool:
    row = rows.get(entry.order_id)
    return row is not None and (entry.step, entry.due_at) in due_of(row)


def _reaches(read: Offsets, end: Offsets) -> bool:
    return all(read[topic] >= offset for topic, offset in end.items())
