"""Which holds are old: a heap per partition, rebuilt from the rows of `holds`; each asks its saga whether it is needed.

A hold never ends by itself (design 3.16): an order that is confirmed may hold for weeks. But one whose saga ended
without it, or that never had one, would be held for ever, and nobody would know; so an old hold asks, now and then.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from schemas.envelope import derive_id
from schemas.keys import SEPARATOR
from schemas.messages import AskAboutHold
from schemas.topics import SAGAS_DEADLINES
from streams.inventory.rows import Row, hold_from_row
from streams.inventory.stock import Hold, HoldStatus
from streams.outgoing import Address, Outgoing, cause_in_a_row, follow

# Far beyond the 60 s in which a saga confirms or begins to undo, so that whoever asks then is seldom told to wait.
ASKS_AFTER = timedelta(minutes=10)
ASKS_AGAIN_AFTER = timedelta(hours=1)
# One transaction stays small; the rest asks at the next look.
ASKED_AT_ONCE_MAX = 200
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Entry(NamedTuple):
    """One hold: it asks from `at` on."""

    at: datetime
    key: str


class OldHolds:
    """The holds of all partitions that this worker owns."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._heaps: dict[int, list[Entry]] = {}

    def restore(self, partition: int, rows: Mapping[str, Row]) -> None:
        """Starts anew from the rows of a partition."""
        entries = (_entry(key, row) for key, row in rows.items())
        self._heaps[partition] = heap = [entry for entry in entries if entry is not None]
        heapq.heapify(heap)

    def drop(self, partition: int) -> None:
        """Forgets a partition."""
        self._heaps.pop(partition, None)

    def note(self, partition: int, rows: Mapping[str, Row], keys: Collection[str]) -> None:
        """Takes up the holds among `keys`; those that were given back are found when they come up."""
        heap = self._heaps.setdefault(partition, [])
        for key in keys:
            entry = _entry(key, rows.get(key))
            if entry is not None:
                heapq.heappush(heap, entry)

    def ask(self, partition: int, rows: Mapping[str, Row], now: datetime) -> list[Outgoing]:
        """The questions that are to be sent now."""
        heap, out = self._heaps.get(partition, []), list[Outgoing]()
        while heap and heap[0].at <= now and len(out) < ASKED_AT_ONCE_MAX:
            key = heapq.heappop(heap).key
            hold = hold_from_row(rows.get(key))
            if hold is not None and hold.status is HoldStatus.HELD:
                out.append(self._question(key, hold, now))
                heapq.heappush(heap, Entry(now + ASKS_AGAIN_AFTER, key))
        return out

    def _question(self, key: str, hold: Hold, now: datetime) -> Outgoing:
        sku, order_id, line = key.split(SEPARATOR)
        reserved = cause_in_a_row(hold.command_id, Address(self._source, "inventory", sku), now)
        id_ = derive_id(hold.command_id, "asked", now.isoformat())
        to = Address(self._source, "sagas", order_id)
        return Outgoing(SAGAS_DEADLINES, follow(reserved, id_, to, AskAboutHold(sku, int(line)), now))


def _entry(key: str, row: Row | None) -> Entry | None:
    """When a hold asks first; None for one that is not held: rows of what was given back stay, as fences, for ever."""
    if row is None or row["status"] != HoldStatus.HELD:
        return None
    hold = hold_from_row(row)
    # Without a moment: held by a version that did not note it.
    return None if hold is None else Entry((hold.held_at or _LONG_AGO) + ASKS_AFTER, key)
