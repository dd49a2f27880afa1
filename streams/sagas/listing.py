"""Sagas by state, kept beside their table: how many there are, and which are the newest, without a look at each row.

A partition's list begins with one pass over its rows, in pieces, while batches already change them. So each commit
counts by itself (one less of the state before, one more of the state after), whether the pass has met the row or not,
and a row that a commit has placed since the beginning is not placed again by the pass.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from typing import NamedTuple

from streams.sagas.state import Row, Status, from_row

# Of the sagas that ended in one way, in one partition: what a list shows at most, and as many more, for some of them
# leave it (a confirmed order is shipped). Sagas that have not ended are all kept: they are what is in flight.
ENDED_KEPT_MAX = 2_000


class Standing(NamedTuple):
    """What the list knows of a saga; `started_at` as it stands in the row, "" when it does not."""

    state: str
    started_at: str
    order_id: str


@dataclass(slots=True)
class _Partition:
    counts: Counter[str] = field(default_factory=Counter)
    # By state, oldest first: (started_at, order id).
    newest: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    # States of the committed rows that the running batch changes.
    before: dict[str, Standing | None] = field(default_factory=dict)
    # Placed by commits while the pass goes on; None: it is over.
    placed: set[str] | None = field(default_factory=set)


class SagaList:
    """The sagas of all partitions that this worker owns. All calls from one thread."""

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def begin(self, partition: int) -> None:
        """The pass over a partition's rows begins: no row has been changed since they were noted down for it."""
        self._partitions[partition] = _Partition()

    def add(self, partition: int, standings: Iterable[Standing]) -> None:
        """A piece of the pass."""
        known = self._partitions[partition]
        for found in standings:
            known.counts[found.state] += 1
            if found.order_id not in (known.placed or ()):
                _place(known, found)

    def end(self, partition: int) -> None:
        """The pass is over: the partition counts from now on."""
        self._partitions[partition].placed = None

    def drop(self, partition: int) -> None:
        """Forgets a partition."""
        self._partitions.pop(partition, None)

    def changing(self, partition: int, committed: Mapping[str, Row], order_ids: Iterable[str]) -> None:
        """The running batch changes these; `committed` are the rows without what it does."""
        before = self._partitions[partition].before
        for order_id in order_ids:
            row = committed.get(order_id)
            before[order_id] = None if row is None else standing(row)

    def changed(self, partition: int, committed: Mapping[str, Row], order_ids: Iterable[str]) -> None:
        """A commit changed these; `committed` shows it."""
        known = self._partitions[partition]
        for order_id in order_ids:
            before = known.before.pop(order_id, None)
            if before is not None:
                known.counts[before.state] -= 1
                _remove(known, before)
            row = committed.get(order_id)
            if row is not None:
                after = standing(row)
                known.counts[after.state] += 1
                _place(known, after)
            if known.placed is not None:
                known.placed.add(order_id)

    def counts(self) -> Counter[str]:
        """Sagas by state, of the partitions whose pass is over."""
        total: Counter[str] = Counter()
        for known in self._partitions.values():
            if known.placed is None:
                total.update(known.counts)
        return total

    def newest(self, state: str | None, limit: int) -> list[tuple[int, str]]:
        """(partition, order id) of the newest sagas, newest first; of one state where that is asked for."""
        return list(islice(self.each(None if state is None else {state}), limit))

    def each(self, states: Collection[str] | None) -> Iterator[tuple[int, str]]:
        """(partition, order id) of all that are kept, or of these states, newest first."""
        runs = (
            _with(partition, reversed(entries))
            for partition, known in self._partitions.items()
            for of, entries in known.newest.items()
            if states is None or of in states
        )
        return ((partition, order_id) for _, order_id, partition in merge(*runs, reverse=True))


def standing(row: Row) -> Standing:
    """What the list keeps of a row. Whether a saga is stuck is worked out only where something was refused."""
    state = row["status"]
    if state == Status.ENDED:
        state = row["outcome"] or state
    elif "refusals" in row or "troubles" in row:
        state = from_row(row).summary
    return Standing(str(state), row["started_at"] or "", row["order_id"])


def _with(partition: int, entries: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, int]]:
    return ((started_at, order_id, partition) for started_at, order_id in entries)


def _place(known: _Partition, found: Standing) -> None:
    entries = known.newest.setdefault(found.state, [])
    insort(entries, (found.started_at, found.order_id))
    if len(entries) > ENDED_KEPT_MAX and found.state not in IN_FLIGHT:
        del entries[: len(entries) - ENDED_KEPT_MAX]


def _remove(known: _Partition, found: Standing) -> None:
    entries, entry = known.newest.get(found.state, []), (found.started_at, found.order_id)
    at = bisect_left(entries, entry)
    if at < len(entries) and entries[at] == entry:
        del entries[at]


IN_FLIGHT = frozenset({"STUCK", Status.UNKNOWN, Status.RUNNING, Status.COMPENSATING})
