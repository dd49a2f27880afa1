"""Plans of records: what the options and the columns of a table say once, compiled to one function for all its rows.

A part of a record that is a column as it is costs no call; one that is converted costs one; only what depends on several
columns is a function of the whole row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from connectors.outbox.pgoutput import Values
from connectors.outbox.refused import Headers
from connectors.outbox.rows import COLUMNS_MAX, column_name, compiled, row_reader

# Topic, key, value, headers, timestamp in ms (0: the time of sending), partition (-1: by the key).
Parts = tuple[str, bytes | None, bytes | None, Headers, int, int]


class Converted(NamedTuple):
    """A column's text (None: null) put through a function."""

    at: int
    convert: Callable[[bytes | None], Any]


# A column as it is, a column converted, or a function of the row.
Part = int | Converted | Callable[[Values], Any]


class Plan(NamedTuple):
    """`known` finds a topic that `topic` found before. None: no key, the time of sending, the key's partition."""

    columns: int
    routing_at: int
    known: Callable[[bytes | None], str | None]
    topic: Callable[[bytes | None], str]
    key: Part | None
    value: Part
    headers: Sequence[tuple[str, Part]] | Callable[[Values], Headers]
    timestamp: Part | None
    partition: Part | None

    def over_values(self) -> Callable[[Values], Parts]:
        """The plan for rows that are lists of values."""
        source = _Source(lambda at: f"values[{at}]", "values")
        body = source.parts(self)
        made: Callable[[Values], Parts] = eval(f"lambda values: {body}", source.scope)
        return made

    def over_frames(self) -> Callable[[bytes], Parts]:
        """The plan for frames that begin as `rows.row_head` says; the function raises MalformedStream too."""
        read, of_values = row_reader(self.columns), self.over_values()

        def slow(frame: bytes) -> Parts:
            return of_values(read(frame))

        if not 0 < self.columns <= COLUMNS_MAX:
            return slow
        source = _Source(column_name, f"[{', '.join(map(column_name, range(self.columns)))}]")
        return compiled(self.columns, source.parts(self), source.scope, slow)


class _Source:
    """An expression under way, with the functions that it calls by name; `row` is the whole row as an expression."""

    def __init__(self, column: Callable[[int], str], row: str) -> None:
        self._column, self._row = column, row
        self.scope: dict[str, Any] = {}

    def parts(self, plan: Plan) -> str:
        """The source of a tuple."""
        routed = self._column(plan.routing_at)
        topic = f"{self._call(plan.known, routed)} or {self._call(plan.topic, routed)}"
        key, value = self._part(plan.key, "None"), self._part(plan.value, "None")
        timestamp, partition = self._part(plan.timestamp, "0"), self._part(plan.partition, "-1")
        if callable(plan.headers):
            headers = self._call(plan.headers, self._row)
        else:
            headers = "[" + ", ".join(f"({name!r}, {self._part(part, 'None')})" for name, part in plan.headers) + "]"
        return f"({topic}, {key}, {value}, {headers}, {timestamp}, {partition})"

    def _part(self, part: Part | None, without: str) -> str:
        if part is None:
            return without
        if isinstance(part, int):
            return self._column(part)
        if isinstance(part, Converted):
            return self._call(part.convert, self._column(part.at))
        return self._call(part, self._row)

    def _call(self, function: Callable[..., Any], argument: str) -> str:
        name = f"f{len(self.scope)}"
        self.scope[name] = function
        return f"{name}({argument})"
