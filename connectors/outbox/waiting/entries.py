"""What the connector keeps of a refused row and of the rows behind it, as records of a compacted topic.

Key `row/<commit position>/<index>`: a row that is not published; a tombstone once it is. Key `redrive/<id>`: a person's
request to try again; the connector takes it away in the transaction that answers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from connectors.outbox.errors import StartRefused
from connectors.outbox.pgoutput import Column, Values

# (position of the transaction's commit record, index of the row in it): the same each time that the log is read.
Place = tuple[int, int]

ROW, REDRIVE = b"row/", b"redrive/"
_LENGTH_BYTES = 4


class State(StrEnum):
    """FAILED: Kafka refused it. WAITING: an earlier row of its aggregate was refused."""

    FAILED = "FAILED"
    WAITING = "WAITING"


class Aggregate(NamedTuple):
    """What keeps its order: type and id as the table has them. A row without a key is one of its own (kind None)."""

    kind: str | None
    key: str

    def __str__(self) -> str:
        return self.key if self.kind is None else f"{self.kind}/{self.key}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One unpublished row; `letter` is the key of its dead letter."""

    place: Place
    aggregate: Aggregate
    row_id: str
    state: State
    reason: str
    letter: bytes | None = None

    @property
    def key(self) -> bytes:
        """The record's key; keys sort as the log does."""
        return ROW + b"%016x/%08x" % self.place


@dataclass(frozen=True, slots=True)
class Content:
    """The row itself: its columns and their texts, as they came."""

    columns: Sequence[Column]
    values: Values


@dataclass(frozen=True, slots=True)
class Request:
    """Which rows are to be tried again: one by id (and those behind it), all of an aggregate id, or all there are."""

    row_id: str | None = None
    aggregate: str | None = None

    def wants(self, entry: Entry) -> bool:
        """Whether the entry's aggregate is meant."""
        if self.row_id is not None:
            return entry.row_id == self.row_id
        return self.aggregate in (None, entry.aggregate.key, str(entry.aggregate))

    def to_json(self) -> bytes:
        """The record's value."""
        return orjson.dumps({"row_id": self.row_id, "aggregate": self.aggregate})

    @classmethod
    def from_json(cls, value: bytes) -> Request | None:
        """None for bytes that are no request: anybody may write to a topic."""
        try:
            content = orjson.loads(value)
            return cls(content["row_id"], content["aggregate"])
        except (ValueError, KeyError, TypeError):
            return None


def encode(entry: Entry, content: Content | None) -> bytes:
    """The record's value: a length, the facts as JSON, the columns' bytes. Without content the row is in the table only."""
    facts: dict[str, Any] = {
        "kind": entry.aggregate.kind,
        "key": entry.aggregate.key,
        "id": entry.row_id,
        "state": entry.state,
        "reason": entry.reason,
        "letter": None if entry.letter is None else entry.letter.hex(),
    }
    parts: list[bytes] = []
    if content is not None:
        facts["columns"] = [
            [*asdict(column).values(), None if value is None else len(value)]
            for column, value in zip(content.columns, content.values, strict=True)
        ]
        parts = [value for value in content.values if value is not None]
    head = orjson.dumps(facts)
    return b"".join((len(head).to_bytes(_LENGTH_BYTES, "big"), head, *parts))


def decode(key: bytes, value: bytes) -> tuple[Entry, Content | None]:
    """The reverse of `encode`. Raises StartRefused for a record that is not ours."""
    try:
        position, index = key.removeprefix(ROW).split(b"/")
        end = _LENGTH_BYTES + int.from_bytes(value[:_LENGTH_BYTES], "big")
        facts = orjson.loads(value[_LENGTH_BYTES:end])
        entry = Entry(
            place=(int(position, 16), int(index, 16)),
            aggregate=Aggregate(facts["kind"], facts["key"]),
            row_id=facts["id"],
            state=State(facts["state"]),
            reason=facts["reason"],
            letter=None if facts["letter"] is None else bytes.fromhex(facts["letter"]),
        )
        return entry, _content(facts["columns"], value, end) if "columns" in facts else None
    except (ValueError, KeyError, TypeError) as wrong:
        raise StartRefused(f"a record of the waiting rows cannot be read ({wrong!r}): {key!r}") from None


def _content(described: list[Any], value: bytes, at: int) -> Content:
    columns, values = [], []
    for name, oid, modifier, required, labels, size in described:
        columns.append(Column(name, oid, modifier, required, tuple(labels)))
        values.append(None if size is None else value[at : at + size])
        at += size or 0
    return Content(columns, values)
