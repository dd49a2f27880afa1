"""Debezium's EventRouter rules, compiled for one table: a row's values to the record that Kafka gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from connectors.outbox.config import Routing
from connectors.outbox.errors import TableUnfit
from connectors.outbox.pgoutput import Column, Values
from connectors.outbox.refused import Headers
from connectors.outbox.values import (
    BYTEA,
    TIMESTAMP,
    TIMESTAMPTZ,
    Convert,
    epoch_ms,
    header_converter,
    key_converter,
    payload_converter,
)

# Topics of one outbox are few; the bound is for a column that turns out to hold ids.
_TOPIC_CACHE_MAX = 10_000
_ANY_PARTITION = -1
# A converted value (digits of a time, base64) can be longer than its text by no more than this.
_GROWTH_BYTES = 40


class Record(NamedTuple):
    """What Kafka gets; `timestamp_ms` 0 means the time of sending, `partition` -1 by the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int = 0
    partition: int = _ANY_PARTITION


class Unroutable(Exception):
    """A row that the rules make no record of; `reason` is one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def record_bytes(record: Record) -> int:
    """Size of a record as Kafka counts it, bounded from above."""
    size = 40 + len(record.key or b"") + len(record.value or b"")
    return size + sum(len(name) + len(content or b"") + 10 for name, content in record.headers)


class Route:
    """The rules compiled for one table's columns.

    `record(values)` raises Unroutable. `headroom(frame_bytes)` bounds the record's size by that of the frame it came in,
    which spares the exact sum for all but large rows.
    """

    def __init__(self, rules: Routing, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self._at = {column.name: index for index, column in enumerate(columns)}
        self._types = [column.type_oid for column in columns]
        for name, needed in rules.columns().items():
            if needed and name not in self._at:
                raise TableUnfit(
                    f"the outbox has no column {name}, which the options name; it has {', '.join(self._at)}"
                )
        self._rules = rules
        self._topics: dict[bytes, str] = {}
        self._pattern, self._template = rules.pattern(), rules.template()
        self._headers = self._compile_headers()
        self.record = self._compile()
        names = sum(len(name) + 10 + _GROWTH_BYTES for name, _, _ in self._headers)
        self._copies, self._fixed_bytes = 3 + len(self._headers), 40 + names

    def headroom(self, frame_bytes: int) -> int:
        """No record of a frame of this size is larger than this, in bytes."""
        return self._fixed_bytes + self._copies * frame_bytes

    def row_id(self, values: Values) -> str:
        """The row's id as text, for people and for letters."""
        content = values[self._at[self._rules.id_field]]
        return "(null)" if content is None else content.decode(errors="replace")

    def has(self, column: str) -> bool:
        """Whether rows have the column."""
        return column in self._at

    def text(self, values: Values, column: str) -> str | None:
        """The column's text; None if it is null or missing."""
        content = values[self._at[column]] if column in self._at else None
        return None if content is None else content.decode(errors="replace")

    def salvage(self, values: Values) -> Record:
        """As much of the record as can be had of an unroutable row: texts unconverted, topic "" if there is none."""
        key_at, payload_at = self._at.get(self._rules.key_field), self._at[self._rules.payload_field]
        headers = [(name, values[index]) for name, index, _ in self._headers if values[index] is not None]
        value, convert = values[payload_at], payload_converter(self._types[payload_at])
        if value is not None and convert is not None:
            value = convert(value)
        try:
            topic = self.topic(values[self._at[self._rules.route_by_field]])
        except Unroutable:
            topic = ""
        return Record(topic, None if key_at is None else values[key_at], value, headers)

    def topic(self, routing_value: bytes | None) -> str:
        """`route_regex` must match as a whole, else the bare value is the topic (as in Kafka's RegexRouter)."""
        if routing_value is None:
            raise Unroutable(f"column {self._rules.route_by_field}, which names the topic, is null")
        found = self._topics.get(routing_value)
        if found is None:
            try:
                text = routing_value.decode()
            except UnicodeDecodeError:
                raise Unroutable(
                    f"column {self._rules.route_by_field}, which names the topic, is no UTF-8 text"
                ) from None
            match = self._pattern.fullmatch(text)
            found = self._pattern.sub(self._template, text, count=1) if match else text
            if len(self._topics) >= _TOPIC_CACHE_MAX:
                self._topics.clear()
            self._topics[routing_value] = found
        return found

    def _compile_headers(self) -> list[tuple[str, int, Convert | None]]:
        """(name, column, converter); the id first, as Debezium does."""
        placed = [("id", self._rules.id_field)]
        placed += [(p.alias, p.column) for p in self._rules.placements if p.place == "header" and p.column in self._at]
        return [(name, self._at[column], header_converter(self._types[self._at[column]])) for name, column in placed]

    def _compile(self) -> Callable[[Values], Record]:
        topic, headers = self.topic, self._header_maker()
        key, value = self._key_maker(), self._value_maker()
        timestamp, partition = self._timestamp_maker(), self._partition_maker()
        routing_at = self._at[self._rules.route_by_field]

        def record(values: Values) -> Record:
            return Record(
                topic(values[routing_at]),
                key(values),
                value(values),
                headers(values),
                0 if timestamp is None else timestamp(values),
                _ANY_PARTITION if partition is None else partition(values),
            )

        return record

    def _header_maker(self) -> Callable[[Values], Headers]:
        placed, null_headers = self._headers, self._rules.null_headers

        def headers(values: Values) -> Headers:
            made: Headers = []
            for name, index, convert in placed:
                content = values[index]
                if content is None:
                    if null_headers:
                        made.append((name, None))
                elif convert is None:
                    made.append((name, content))
                else:
                    made.append((name, _converted(convert, content, name)))
            return made

        return headers

    def _key_maker(self) -> Callable[[Values], bytes | None]:
        index = self._at.get(self._rules.key_field)
        if index is None:
            return lambda values: None
        return _column(index, key_converter(self._types[index]), self._rules.key_field)

    def _value_maker(self) -> Callable[[Values], bytes | None]:
        index = self._at[self._rules.payload_field]
        plain = _column(index, payload_converter(self._types[index]), self._rules.payload_field)
        if not self._rules.tombstone_on_empty_payload or self._types[index] == BYTEA:
            return plain

        def value(values: Values) -> bytes | None:
            content = plain(values)
            return content if content is not None and content.strip() else None

        return value

    def _timestamp_maker(self) -> Callable[[Values], int] | None:
        name = self._rules.timestamp_field
        if name is None:
            return None
        index = self._at[name]
        if self._types[index] not in (TIMESTAMP, TIMESTAMPTZ):
            raise TableUnfit(f"column {name}, which gives the record's timestamp, is neither timestamp nor timestamptz")

        def timestamp(values: Values) -> int:
            content = values[index]
            if content is None:
                return 0
            try:
                return epoch_ms(content)
            except ValueError as wrong:
                raise Unroutable(f"column {name} {content[:60].decode(errors='replace')!r}: {wrong}") from None

        return timestamp

    def _partition_maker(self) -> Callable[[Values], int] | None:
        index = next(
            (self._at[p.column] for p in self._rules.placements if p.place == "partition" and p.column in self._at),
            None,
        )
        if index is None:
            return None

        def partition(values: Values) -> int:
            content = values[index]
            if content is None:
                return _ANY_PARTITION
            try:
                number = int(content)
            except ValueError:
                number = -1
            if number < 0:
                raise Unroutable(f"partition {content[:60].decode(errors='replace')!r} is no number from 0")
            return number

        return partition


def _column(index: int, convert: Convert | None, name: str) -> Callable[[Values], bytes | None]:
    """Reads one column, converted."""
    if convert is None:
        return lambda values: values[index]

    def read(values: Values) -> bytes | None:
        content = values[index]
        return None if content is None else _converted(convert, content, name)

    return read


def _converted(convert: Convert, content: bytes, name: str) -> bytes:
    try:
        return convert(content)
    except ValueError as wrong:
        raise Unroutable(f"{name} {content[:60].decode(errors='replace')!r}: {wrong}") from None
