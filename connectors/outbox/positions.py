"""Positions in the database's log, and the record of them that the connector keeps in Kafka."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import orjson

from connectors.outbox.errors import StartRefused

POSITION_MAX = 2**64 - 1


def format_position(position: int) -> str:
    """PostgreSQL's notation: `16/B374D848`."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def parse_position(text: str) -> int:
    """The reverse of `format_position`; raises ValueError."""
    high, low = text.split("/")
    position = int(high, 16) << 32 | int(low, 16)
    if not 0 <= position <= POSITION_MAX:
        raise ValueError(f"{text!r} is no log position")
    return position


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """What Kafka holds: every row committed up to `position` (end of a commit record) is published.

    `making` marks the record that is written before a slot is made: such a slot has published nothing yet and may be
    dropped and made again. `part_of` is 0, or the position of the commit record of a transaction too large for one
    batch: of that one the first `part_rows` rows are published too.
    """

    system: str
    timeline: int
    slot: str
    position: int
    making: bool = False
    part_of: int = 0
    part_rows: int = 0

    def moved_to(self, position: int) -> StoredPosition:
        """The same at `position`; a part stays until its transaction lies behind."""
        if self.part_of < position:
            return StoredPosition(self.system, self.timeline, self.slot, position)
        return replace(self, position=position)

    def to_json(self, recorded_at_s: float) -> bytes:
        """The record's value; `recorded_at_s` (Unix seconds) is for people."""
        content: dict[str, Any] = {
            "system": self.system,
            "timeline": self.timeline,
            "slot": self.slot,
            "lsn": format_position(self.position),
            "time": recorded_at_s,
        }
        if self.making:
            content["making"] = True
        if self.part_of:
            content |= {"part_of": format_position(self.part_of), "part_rows": self.part_rows}
        return orjson.dumps(content)

    @classmethod
    def from_json(cls, value: bytes) -> StoredPosition:
        """Raises StartRefused for a record that is not ours."""
        try:
            content = orjson.loads(value)
            return cls(
                system=str(content["system"]),
                timeline=int(content["timeline"]),
                slot=str(content["slot"]),
                position=parse_position(content["lsn"]),
                making=bool(content.get("making", False)),
                part_of=parse_position(content.get("part_of", "0/0")),
                part_rows=int(content.get("part_rows", 0)),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as wrong:
            raise StartRefused(f"the stored position cannot be read ({wrong!r}): {value[:200]!r}") from None


def switch_position(history: str, timeline: int) -> int | None:
    """Where `timeline` was left, by a server's timeline history file; None if it is no ancestor of the present one."""
    for line in history.splitlines():
        fields = line.split("#", 1)[0].split()
        if len(fields) >= 2 and fields[0] == str(timeline):
            return parse_position(fields[1])
    return None
