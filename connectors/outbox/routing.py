"""Debezium's EventRouter rules, compiled for one table: a row's values to the record that Kafka gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from connectors.outbox import values as texts
from connectors.outbox.config import Routing
from connectors.outbox.converters import written
from connectors.outbox.errors import TableUnfit
from connectors.outbox.kinds import kind_of
from connectors.outbox.payload import Envelope, Place, value_maker
from connectors.outbox.pgoutput import Column, Values
from connectors.outbox.plans import Converted, Part, Parts, Plan
from connectors.outbox.refused import Headers
from connectors.outbox.values import Convert, epoch_ms

T = TypeVar("T")

# Topics of one outbox are few; the bound is for a column that turns out to hold ids.
_TOPIC_CACHE_MAX = 10_000
_ANY_PARTITION = -1
_BIGINT = 20
# A converted value (digits of a time, base64) can be longer than its text by no more than this.
_GROWTH_BYTES = 40
# Written as JSON, one byte becomes at most six, as a text within a text twice as many.
_JSON_GROWTH = 12


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


class _Header(NamedTuple):
    """A header: where its column stands, how it is written, and what stands for null."""

    name: str
    at: int
    convert: Convert | None
    null: bytes | None


def record_bytes(record: Parts) -> int:
    """Size of a record as Kafka counts it, bounded from above."""
    _, key, value, headers, _, _ = record
    size = 40 + len(key or b"") + len(value or b"")
    return size + sum(len(name) + len(content or b"") + 10 for name, content in headers)


class Route:
    """The rules compiled for the columns of one table, `name` (schema.table), which only names schemas.

    `record(values)` raises Unroutable; `parts` gives the same as a bare tuple, and `parts_of_frame` makes a function that
    reads the row out of its frame as well. `headroom(frame_bytes)` bounds the record's size by that of the frame it came
    in, which spares the exact sum for all but large rows; it is `copies` of the frame and `fixed_bytes`.
    """

    def __init__(self, rules: Routing, columns: Sequence[Column], name: str = "") -> None:
        self.columns = tuple(columns)
        self._at = {column.name: index for index, column in enumerate(columns)}
        for column, needed in rules.columns().items():
            if needed and column not in self._at:
                raise TableUnfit(
                    f"the outbox has no column {column}, which the options name; it has {', '.join(self._at)}"
                )
        self._rules, self._columns, self._name = rules, columns, name
        self._topics: dict[bytes, str] = {}
        self._router = rules.router()
        self._headers = self._compile_headers()
        self._plan = self._compile()
        self.parts = self._plan.over_values()
        self.copies, self.fixed_bytes = self._growth()

    def record(self, values: Values) -> Record:
        """The row's record. Raises Unroutable."""
        return Record(*self.parts(values))

    def parts_of_frame(self) -> Callable[[bytes], Parts]:
        """For frames that begin as `rows.row_head` says of a relation with these columns."""
        return self._plan.over_frames()

    def headroom(self, frame_bytes: int) -> int:
        """No record of a frame of this size is larger than this, in bytes."""
        return self.fixed_bytes + self.copies * frame_bytes

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
        key_at, payload = self._at.get(self._rules.key_field), self._place(self._rules.payload_field)
        headers = [(header.name, values[header.at]) for header in self._headers if values[header.at] is not None]
        value = values[payload.at]
        if value is not None and payload.kind.plain is not None:
            value = payload.kind.plain(value)
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
                found = self._router(routing_value.decode())
            except UnicodeDecodeError:
                raise Unroutable(
                    f"column {self._rules.route_by_field}, which names the topic, is no UTF-8 text"
                ) from None
            if len(self._topics) >= _TOPIC_CACHE_MAX:
                self._topics.clear()
            self._topics[routing_value] = found
        return found

    def _place(self, name: str) -> Place:
        index = self._at[name]
        return Place(index, kind_of(self._columns[index], self._rules.types), self._columns[index].required)

    def _growth(self) -> tuple[int, int]:
        """(copies of the frame, fixed bytes) that bound a record."""
        rules = self._rules
        forms = (rules.key_form, rules.value_form, rules.header_form)
        fixed = 40 + sum(len(header.name) + 10 + _GROWTH_BYTES for header in self._headers)
        copies = 3 + len(self._headers)
        if all(form.kind == "plain" for form in forms) and not rules.in_envelope:
            return copies, fixed
        schemas = sum(len(self._place(c.name).kind.schema_text(False)) + len(c.name) + 100 for c in self._columns)
        names = sum(len(placement.alias) + 10 + _GROWTH_BYTES for placement in rules.placements)
        copies += len(rules.in_envelope) + 1
        # An inferred schema holds the names of all members once more, each with its type.
        inferred = 100 if rules.expand_json and rules.value_form.schemas else 0
        return _JSON_GROWTH * copies + inferred, fixed + schemas * (3 + len(self._headers)) + names + len(self._name)

    def _compile_headers(self) -> list[_Header]:
        """The id first, as Debezium does."""
        placed = [("id", self._rules.id_field)]
        placed += [(p.alias, p.column) for p in self._rules.placements if p.place == "header" and p.column in self._at]
        headers = []
        for name, column in placed:
            index, kind, required = self._place(column)
            form = written(kind, self._rules.header_form, required, kind.header)
            headers.append(_Header(name, index, form.convert, form.null))
        return headers

    def _compile(self) -> Plan:
        return Plan(
            columns=len(self._columns),
            routing_at=self._at[self._rules.route_by_field],
            known=self._topics.get,  # type: ignore[arg-type]  # None is not in it, which is an answer too
            topic=self.topic,
            key=self._key(),
            value=self._value(),
            headers=self._placed_headers(),
            timestamp=self._timestamp(),
            partition=self._partition(),
        )

    def _placed_headers(self) -> Sequence[tuple[str, Part]] | Callable[[Values], Headers]:
        if self._rules.null_headers:
            return [(name, _part(index, convert, null, _quoting(name))) for name, index, convert, null in self._headers]
        placed = self._headers

        def headers(values: Values) -> Headers:
            made: Headers = []
            for name, index, convert, _ in placed:
                content = values[index]
                if content is not None:
                    made.append((name, content if convert is None else _converted(convert, content, name)))
            return made

        return headers

    def _key(self) -> Part | None:
        name = self._rules.key_field
        if name not in self._at:
            return None
        index, kind, required = self._place(name)
        convert, null = written(kind, self._rules.key_form, required, kind.plain)
        return _part(index, convert, null, _quoting(name))

    def _value(self) -> Part:
        rules, payload = self._rules, self._place(self._rules.payload_field)
        members = tuple((p.alias, self._place(p.column)) for p in rules.in_envelope if p.column in self._at)
        if rules.value_form.kind != "json" and not members and not rules.tombstone_on_empty_payload:
            convert, null = written(payload.kind, rules.value_form, payload.required, payload.kind.plain)
            # Whatever it holds is not shown to those who read reasons.
            return _part(payload.at, convert, null, lambda _: rules.payload_field)
        prefix = f"{rules.schema_prefix}.{self._name}"
        version_at = None if rules.schema_version_field is None else self._at[rules.schema_version_field]
        make = value_maker(rules, payload, Envelope(members, prefix, self._at[rules.route_by_field], version_at))

        def value(values: Values) -> bytes | None:
            try:
                return make(values)
            except ValueError as wrong:
                raise Unroutable(f"{rules.payload_field}: {wrong}") from None

        return value

    def _timestamp(self) -> Part | None:
        name = self._rules.timestamp_field
        if name is None:
            return None
        index = self._at[name]
        kind = self._columns[index].type_oid
        if kind not in (texts.TIMESTAMP, texts.TIMESTAMPTZ, _BIGINT):
            raise TableUnfit(
                f"column {name}, which gives the record's timestamp, is neither timestamp nor timestamptz nor bigint"
            )
        convert = texts.positive if kind == _BIGINT else epoch_ms

        def timestamp(content: bytes | None) -> int:
            return 0 if content is None else _converted(convert, content, f"column {name}")

        return Converted(index, timestamp)

    def _partition(self) -> Part | None:
        index = next(
            (self._at[p.column] for p in self._rules.placements if p.place == "partition" and p.column in self._at),
            None,
        )
        return None if index is None else Converted(index, _partition_number)


def _partition_number(content: bytes | None) -> int:
    if content is None:
        return _ANY_PARTITION
    try:
        number = int(content)
    except ValueError:
        number = -1
    if number < 0:
        raise Unroutable(f"partition {content[:60].decode(errors='replace')!r} is no number from 0")
    return number


def _part(index: int, convert: Convert | None, null: bytes | None, refusal: Callable[[bytes], str]) -> Part:
    """A column as a part of a record; `null` stands for null, and `refusal` says of a text which column it was."""
    if convert is None:
        return index

    def converted(content: bytes | None) -> bytes | None:
        if content is None:
            return null
        try:
            return convert(content)
        except ValueError as wrong:
            raise Unroutable(f"{refusal(content)}: {wrong}") from None

    return Converted(index, converted)


def _quoting(name: str) -> Callable[[bytes], str]:
    return lambda content: f"{name} {content[:60].decode(errors='replace')!r}"


def _converted(convert: Callable[[bytes], T], content: bytes, name: str) -> T:
    try:
        return convert(content)
    except ValueError as wrong:
        raise Unroutable(f"{_quoting(name)(content)}: {wrong}") from None
