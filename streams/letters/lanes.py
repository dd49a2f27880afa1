"""Lanes of the table `waiting`: in each, records that depend on one another wait in order behind one that failed.

    head/<lane>             first number, next number, how many wait, of which topics
    record/<lane>/<number>  one record (`streams.letters.kept`)
The rows lie in the partition in which the records stood and change in the transaction of the batch, so they survive
what the offsets survive: crashes, rebalances, new versions of the code. A lane without records has no rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from schemas.keys import SEPARATOR
from schemas.messages import ActOnDeadLetters
from streams.letters.kept import Kept, from_row, to_row

# So many records wait in one lane at most. What was fetched before its partition was paused still comes: at most
# two batches of 500 and what lies behind them, hence the distance.
LANE_RECORDS_MAX = 10_000
PAUSES_AT = LANE_RECORDS_MAX - 2_000

HEADS, _RECORD = f"head{SEPARATOR}", f"record{SEPARATOR}"
_NUMBER_DIGITS = 10

Row = dict[str, Any]
Rows = Mapping[str, Row]


def lane_of(agent: str, depends_on: str) -> str:
    """Name of a lane: who handles its records, and what they depend on."""
    return f"{agent}{SEPARATOR}{depends_on}"


def head_key(lane: str) -> str:
    """Key of a lane's head."""
    return HEADS + lane


def lane_of_head(key: str) -> str | None:
    """The lane of a head's key; None for the key of a record."""
    return key[len(HEADS) :] if key.startswith(HEADS) else None


class Lanes:
    """The lanes of one partition, to read."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __bool__(self) -> bool:
        return len(self._rows) > 0

    def __contains__(self, lane: str) -> bool:
        return head_key(lane) in self._rows

    def __iter__(self) -> Iterator[str]:
        """All lanes, in order of their names."""
        return iter(sorted(lane for key in list(self._rows) if (lane := lane_of_head(key)) is not None))

    def count(self, lane: str) -> int:
        """How many records wait in a lane."""
        head = self._rows.get(head_key(lane))
        return 0 if head is None else int(head["count"])

    def first(self, lane: str) -> tuple[int, Kept] | None:
        """The record whose turn it is, with its number."""
        return next(self.records(lane), None)

    def records(self, lane: str) -> Iterator[tuple[int, Kept]]:
        """All records of a lane in order, with their numbers."""
        head = self._rows.get(head_key(lane))
        if head is None:
            return
        for number in range(head["first"], head["next"]):
            row = self._rows.get(_record_key(lane, number))
            if row is not None:
                yield number, from_row(row)

    def wanted(self, wish: ActOnDeadLetters) -> Iterator[tuple[str, int | None]]:
        """Lanes that an operator means, from `wish.lane` on; with the number of the letter that was named."""
        for lane in self:
            if wish.lane is not None and lane < wish.lane:
                continue
            if wish.letter is None and wish.key is None:
                yield lane, None
                continue
            for number, kept in self.records(lane):
                if kept.letter_id == wish.letter:
                    yield lane, number
                elif wish.letter is None and wish.key in (_text(kept.record.key), lane.split(SEPARATOR)[1]):
                    # The key as it stands in Kafka, or the order that a command of stock is about.
                    yield lane, None
                    break


class OpenLanes(Lanes):
    """The lanes of one partition, to change."""

    def __init__(self, rows: MutableMapping[str, Row]) -> None:
        super().__init__(rows)
        self._open = rows

    def put(self, kept: Kept) -> int:
        """Adds a record at the end of its lane; gives how many wait there now."""
        lane = kept.standing.lane
        head = self._rows.get(head_key(lane)) or {"first": 0, "next": 0, "count": 0, "topics": []}
        number, count = head["next"], head["count"] + 1
        topics = sorted({*head["topics"], kept.record.topic})
        self._open[_record_key(lane, number)] = to_row(kept)
        self._open[head_key(lane)] = {**head, "next": number + 1, "count": count, "topics": topics}
        return int(count)

    def replace(self, number: int, kept: Kept) -> None:
        """A record after one more try."""
        self._open[_record_key(kept.standing.lane, number)] = to_row(kept)

    def remove(self, lane: str, number: int) -> None:
        """A record that was handled or discarded; the lane ends with its last."""
        del self._open[_record_key(lane, number)]
        head = self._rows[head_key(lane)]
        if head["count"] == 1:
            del self._open[head_key(lane)]
            return
        first = head["first"]
        while _record_key(lane, first) not in self._rows:
            first += 1
        self._open[head_key(lane)] = {**head, "first": first, "count": head["count"] - 1}


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode(errors="backslashreplace")


def _record_key(lane: str, number: int) -> str:
    return f"{_RECORD}{lane}{SEPARATOR}{number:0{_NUMBER_DIGITS}}"
