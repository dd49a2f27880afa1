"""Folds messages into the rows of a table version that is being built; a fault of its fold stays its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from schemas.envelope import Message
from schemas.errors import Undecodable
from streams.read_models.history import Row
from streams.read_models.table_of_tables import ReadModel

_UNKNOWN: Any = object()
FAULT_CHARS_MAX = 500


class Rows(Protocol):
    """What is asked of the rows, a partition of a table."""

    def prepare(self, keys: Iterable[Any], /) -> None:
        """These will be read."""

    def get(self, key: Any, /) -> Row | None:
        """A row, or None."""

    def __setitem__(self, key: Any, row: Row, /) -> None: ...


@dataclass(slots=True)
class Folded:
    """How many events were folded, how many could not be, and what the last fault was."""

    events: int = 0
    faults: int = 0
    last_fault: str | None = None

    def fault(self, error: Exception | str) -> None:
        """Counts one that could not be folded."""
        self.faults += 1
        line = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        self.last_fault = line[:FAULT_CHARS_MAX]

    def refuse(self, key: str) -> None:
        """Counts a row that no changelog could hold."""
        self.fault(f"the row of {key!r} is no JSON")


class Checked:
    """Rows of the live batch: one that no changelog could hold raises TypeError when it is set, for the commit could not
    encode it, which would end the process, and again at each start."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.prepare, self.get = rows.prepare, rows.get

    def __setitem__(self, key: Any, row: Row) -> None:
        orjson.dumps(row)
        self._rows[key] = row


def fold(model: ReadModel, rows: Rows, messages: Sequence[Any], folded: Folded | None = None) -> Folded:
    """Folds messages, or the Undecodable that stands in for one, each row's in order; each row is read and written once.

    Whatever the model raises is counted, as is a row that `rows` refuses (TypeError, ValueError): the code is new, and
    the process that it runs in is the live one. Counts go into `folded` where it is given.
    """
    folded = Folded() if folded is None else folded
    by_key = _by_key(model, messages, folded)
    with suppress(Exception):
        # A key that cannot be one is met again below.
        rows.prepare(by_key)
    evolve, get = model.evolve, rows.get
    changed: dict[str, Row] = {}
    for key, events in by_key.items():
        row = _UNKNOWN
        for event in events:
            try:
                if row is _UNKNOWN:
                    row = get(key)
                after = evolve(row, event)
            except Exception as error:
                folded.fault(error)
            else:
                if after is not None:
                    row = changed[key] = after
    for key, row in changed.items():
        try:
            rows[key] = row
        except (TypeError, ValueError):
            folded.refuse(key)
    return folded


def _by_key(model: ReadModel, messages: Sequence[Any], folded: Folded) -> dict[str, list[Message]]:
    key_of = model.key
    by_key: dict[str, list[Message]] = {}
    folded.events += len(messages)
    for message in messages:
        try:
            if isinstance(message, Undecodable):
                raise message
            key = key_of(message)
            if key in by_key:
                by_key[key].append(message)
            else:
                by_key[key] = [message]
        except Exception as error:
            folded.fault(error)
    return by_key
