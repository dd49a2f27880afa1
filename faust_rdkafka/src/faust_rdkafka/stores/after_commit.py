"""Writes to the persistent stores what a Kafka transaction has committed, with its changelog offsets.

After the commit, never before: what is in a store must be in the changelog. A crash in between leaves a store that
lacks its last batch, and the restore reads that from the changelog.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from faust_rdkafka.stats import Stats
from faust_rdkafka.table_partition import TablePartition
from faust_rdkafka.transaction import Outgoing

from .database import Database

Place = tuple[str, int]  # changelog topic, partition


class StoreWrites:
    """Made on the event loop from what the batch changed, done in the commit thread."""

    def __init__(self, changed: Iterable[tuple[str, TablePartition]], stats: Stats) -> None:
        self._stats = stats
        self._targets: dict[Place, tuple[Database, int]] = {
            (topic, rows.number): (rows.database, rows.added) for topic, rows in changed if rows.database is not None
        }

    def write(self, changelogs: Sequence[Outgoing], offsets: Mapping[Place, int]) -> None:
        """StoreFailed: the commit stands, so the process must end; the next start restores what is missing here."""
        if not self._targets:
            return
        began = time.perf_counter()
        pairs: dict[Place, list[tuple[bytes, bytes | None]]] = defaultdict(list)
        for topic, key, value, number, _, _ in changelogs:
            pairs[topic, number].append((key or b"", value))
        for place, (database, added) in self._targets.items():
            if place in pairs:
                database.write_committed(pairs[place], offsets.get(place), added)
        self._stats.store_s += time.perf_counter() - began
