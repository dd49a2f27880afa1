"""Which aggregates are blocked, and by what: in memory, always what the last committed batch says and this batch adds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from connectors.outbox.errors import WaitingFull
from connectors.outbox.waiting.entries import Aggregate, Entry, Place, State

# More rows behind one failed row, or in all, mean that nobody looks: then the connector pauses and says so.
WAITING_ROWS_MAX = 10_000
WAITING_ROWS_TOTAL_MAX = 100_000


class Blocked:
    """Entries by aggregate, in the log's order. False while nothing is blocked, which is what the hot path asks."""

    def __init__(self, rows_max: int = WAITING_ROWS_MAX, rows_total_max: int = WAITING_ROWS_TOTAL_MAX) -> None:
        self._rows_max, self._rows_total_max = rows_max, rows_total_max
        self._entries: dict[Aggregate, dict[Place, Entry]] = {}
        self._before: dict[Aggregate, dict[Place, Entry]] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __contains__(self, aggregate: Aggregate) -> bool:
        return aggregate in self._entries

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def __iter__(self) -> Iterator[Entry]:
        return (entry for entries in self._entries.values() for entry in entries.values())

    def load(self, entries: Iterable[Entry]) -> None:
        """Begins anew with what the topic holds."""
        self._entries.clear()
        self._before.clear()
        for entry in sorted(entries, key=lambda entry: entry.place):
            self._entries.setdefault(entry.aggregate, {})[entry.place] = entry

    def of(self, aggregate: Aggregate) -> list[Entry]:
        """The aggregate's unpublished rows in order."""
        return list(self._entries.get(aggregate, {}).values())

    def failed(self) -> int:
        """How many rows Kafka refused."""
        return sum(entry.state is State.FAILED for entry in self)

    def headless(self) -> list[Aggregate]:
        """Aggregates whose failed row is published while those behind it are not yet."""
        return [
            aggregate
            for aggregate, entries in self._entries.items()
            if next(iter(entries.values())).state is State.WAITING
        ]

    def put(self, entry: Entry) -> None:
        """Adds or replaces an entry. Raises WaitingFull at the bound."""
        self._touch(entry.aggregate)
        entries = self._entries.setdefault(entry.aggregate, {})
        if entry.place not in entries and (len(entries) > self._rows_max or len(self) >= self._rows_total_max):
            raise WaitingFull(str(entry.aggregate), len(entries) - 1)
        entries[entry.place] = entry

    def remove(self, entry: Entry) -> None:
        """Its row is published."""
        self._touch(entry.aggregate)
        entries = self._entries[entry.aggregate]
        del entries[entry.place]
        if not entries:
            del self._entries[entry.aggregate]

    def commit(self) -> None:
        """The batch is stored."""
        self._before.clear()

    def rollback(self) -> None:
        """The batch was aborted."""
        for aggregate, entries in self._before.items():
            self._entries.pop(aggregate, None)
            if entries:
                self._entries[aggregate] = entries
        self._before.clear()

    def _touch(self, aggregate: Aggregate) -> None:
        if aggregate not in self._before:
            self._before[aggregate] = dict(self._entries.get(aggregate, {}))
