"""What a store notes about itself, in the same write as the rows: how far into the changelog it is, and since when."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass, replace

# form, last changelog offset, caught up at (ms since 1970), rows, id of the changelog topic
_FORM = struct.Struct(">Bqqq16s")
_VERSION = 1
NO_TOPIC = bytes(16)
UNCOUNTED = -1  # rows, while a restore runs

# A clock that was set back a little is no reason to read everything anew; one that is far off says nothing.
_CLOCK_BACK_MAX_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Note:
    """`offset`: the last changelog record that the rows hold, -1 when none. `caught_up_ms`: the store held all that
    the changelog held at this time of the machine's clock, 0 when never. `rows`: how many rows there are."""

    offset: int = -1
    caught_up_ms: int = 0
    rows: int = 0
    topic_id: bytes = NO_TOPIC

    def packed(self) -> bytes:
        return _FORM.pack(_VERSION, self.offset, self.caught_up_ms, self.rows, self.topic_id)

    def with_changes(self, offset: int | None, added: int, caught_up_ms: int) -> Note:
        return replace(
            self,
            offset=self.offset if offset is None else max(self.offset, offset),
            rows=self.rows + added,
            caught_up_ms=caught_up_ms,
        )

    def why_not_to_trust(self, end: int, topic_id: bytes, delete_retention_ms: int, at_ms: int) -> str | None:
        """Why the rows must be read anew from a changelog that ends at `end`; None: its tail is enough.

        A deletion is a tombstone that compaction drops `delete.retention.ms` after it met it: a store that has not
        seen it by then would keep the row for ever. Half of that time leaves the restore itself plenty. If nothing
        was written since, there is no tombstone to miss, however old the store is.
        """
        if self.topic_id != NO_TOPIC and topic_id != NO_TOPIC and self.topic_id != topic_id:
            return "the changelog was deleted and made again"
        if self.offset >= end:
            return f"the changelog ends at {end}, before the store's {self.offset}"
        age_ms = at_ms - self.caught_up_ms
        nothing_new = end <= self.offset + 2  # the last record and the marker of its transaction
        if self.offset >= 0 and not nothing_new and not -_CLOCK_BACK_MAX_MS <= age_ms <= delete_retention_ms // 2:
            return f"it last caught up {age_ms / 86_400_000:.1f} days ago, and tombstones may be gone by now"
        return None


def unpacked(data: bytes) -> Note:
    """The Note of its bytes; ValueError when they are of another form."""
    if len(data) != _FORM.size or data[0] != _VERSION:
        raise ValueError(f"a note of another form: {data[:64]!r}")
    _, offset, caught_up_ms, rows, topic_id = _FORM.unpack(data)
    return Note(offset, caught_up_ms, rows, topic_id)


def now_ms() -> int:
    return time.time_ns() // 1_000_000
