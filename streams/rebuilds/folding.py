"""Folds messages into the rows of a table version that is being built; a fault of its fold stays its own."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from schemas.errors import Undecodable
from streams.read_models.history import Row
from streams.read_models.table_of_tables import ReadModel

_UNKNOWN: Any = object()
FAULT_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class Folded:
    """How many events were folded, how many could not be, and what the last fault was."""

    events: int = 0
    faults: int = 0
    last_fault: str | None = None


def fold(model: ReadModel, rows: MutableMapping[Any, Any], messages: Iterable[Any]) -> Folded:
    """Folds messages, or the Undecodable that stands in for one, in order; each row is read and written once.

    Whatever the model raises is counted: the code is new, and the batch that it runs in is the live one's.
    """
    key_of, evolve, get = model.key, model.evolve, rows.get
    known: dict[str, Row | None] = {}
    changed: dict[str, Row] = {}
    events = faults = 0
    last: str | None = None
    for message in messages:
        events += 1
        try:
            if isinstance(message, Undecodable):
                raise message
            key = key_of(message)
            before = known.get(key, _UNKNOWN)
            if before is _UNKNOWN:
                before = known[key] = get(key)
            after = evolve(before, message)
        except Exception as error:
            faults, last = faults + 1, _line(error)
        else:
            if after is not None:
                known[key] = changed[key] = after
    if not _is_writable(changed):
        for key in [key for key, row in changed.items() if not _is_writable({key: row})]:
            del changed[key]
            faults, last = faults + 1, f"the row of {key!r} is no JSON"
    for key, row in changed.items():
        rows[key] = row
    return Folded(events, faults, last)


def _is_writable(rows: dict[str, Row]) -> bool:
    """What the commit could not encode would end the process, and again at each start."""
    try:
        orjson.dumps(rows)
    except (TypeError, ValueError):
        return False
    return True


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:FAULT_CHARS_MAX]
