"""An outbox without a table: rows that `pg_logical_emit_message(true, PREFIX, content)` wrote into the log.

Content, in one of two forms: a JSON object whose members are the columns of an outbox row, by the names that the options
give them, `payload` being any JSON; or a zero byte, four bytes of length (big-endian), such an object of that length
without a payload, and behind it the payload's bytes as they are (Avro, say). The rules of routing are the same as for a
table. `id` may be left out: then it is the row's place in the log, which is the same whenever the log is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from connectors.outbox.config import Routing
from connectors.outbox.errors import OutboxError
from connectors.outbox.json_text import Number, write
from connectors.outbox.pgoutput import Column, Values
from connectors.outbox.positions import format_position
from connectors.outbox.routing import Route
from connectors.outbox.sender import Sender
from connectors.outbox.values import BOOL, BYTEA, JSONB, NUMERIC, TIMESTAMPTZ
from connectors.outbox.waiting.entries import Place

_TEXT, _BIGINT, _DOUBLE = 25, 20, 701
_FRAMED = b"\0"
_LENGTH_BYTES = 4
_BIGINT_MIN, _BIGINT_MAX = -(1 << 63), (1 << 63) - 1
_BIGINT_DIGITS_MAX = 20
# Names the aggregate's type for the order under failure, whatever column names the topic.
_KIND_FIELD = "aggregatetype"
# Forms of messages (which members of which types) are few; the bound is for a writer who varies them without end.
_ROUTES_MAX = 1_000

_Cell = tuple[int, bytes | None]


class MessageRow(NamedTuple):
    """A message as a row; `fault` is None, or why it is none that can be routed."""

    route: Route
    values: Values
    fault: str | None = None


class MessageRows:
    """Makes rows of messages of one prefix."""

    def __init__(self, rules: Routing, prefix: str) -> None:
        self._rules, self._prefix = rules, prefix
        self._names = tuple(dict.fromkeys((*rules.columns(), _KIND_FIELD)))
        self._routes: dict[tuple[int, ...], Route] = {}

    def send(self, sender: Sender, content: bytes, place: Place) -> None:
        """Hands the message's record to Kafka, or its dead letter. Raises what `Sender.send` does."""
        route, values, fault = self.row(content, place)
        if fault is None:
            sender.send(route, values, sum(len(value or b"") + 5 for value in values), place)
        else:
            sender.set_aside(route, values, place, fault)

    def row(self, content: bytes, place: Place) -> MessageRow:
        """Never raises: what is no row of ours comes with its fault, its content as the payload."""
        try:
            members, payload = _read(content)
            cells = list(self._cells(members, payload, place))
            return MessageRow(self._route(tuple(kind for kind, _ in cells)), [text for _, text in cells])
        except (ValueError, RecursionError, OutboxError) as wrong:
            return self._faulty(content, place, f"logical message: {wrong}")

    def _faulty(self, content: bytes, place: Place, fault: str) -> MessageRow:
        texts = {self._rules.id_field: _id(place), self._rules.payload_field: _bytea(content)}
        kind_by_name = {self._rules.payload_field: BYTEA, self._rules.timestamp_field: TIMESTAMPTZ}
        route = self._route(tuple(kind_by_name.get(name, _TEXT) for name in self._names))
        return MessageRow(route, [texts.get(name) for name in self._names], fault)

    def _cells(self, members: dict[str, Any], payload: bytes | None, place: Place) -> Iterator[_Cell]:
        rules = self._rules
        for name in self._names:
            value = members.get(name)
            if name == rules.payload_field and payload is not None:
                if value is not None:
                    raise ValueError(f"{name} stands both in the object and behind it")
                yield BYTEA, _bytea(payload)
            elif name == rules.id_field and value is None:
                yield _TEXT, _id(place)
            elif name == rules.timestamp_field and not isinstance(value, Number):
                yield _moment(value)
            else:
                yield _cell(value)

    def _route(self, kinds: tuple[int, ...]) -> Route:
        route = self._routes.get(kinds)
        if route is None:
            columns = [Column(name, kind) for name, kind in zip(self._names, kinds, strict=True)]
            route = Route(self._rules, columns, self._prefix)
            if len(self._routes) >= _ROUTES_MAX:
                self._routes.clear()
            self._routes[kinds] = route
        return route


def _read(content: bytes) -> tuple[dict[str, Any], bytes | None]:
    """The members, and the payload's bytes if they stand behind them. Raises ValueError, RecursionError."""
    payload = None
    if content.startswith(_FRAMED):
        begin = len(_FRAMED) + _LENGTH_BYTES
        end = begin + int.from_bytes(content[len(_FRAMED) : begin], "big")
        if not begin <= end <= len(content):
            raise ValueError("it ends within its head")
        content, payload = content[begin:end], content[end:]
    members = json.loads(content.decode(), parse_int=Number, parse_float=Number, parse_constant=_no_constant)
    if not isinstance(members, dict):
        raise ValueError("it is no JSON object")
    return members, payload


def _cell(value: Any) -> _Cell:
    if value is None:
        return _TEXT, None
    if isinstance(value, Number):
        return _number(value), value.encode()
    if isinstance(value, str):
        return _TEXT, value.encode()
    if isinstance(value, bool):
        return BOOL, b"t" if value else b"f"
    return JSONB, write(value).encode()


def _moment(value: Any) -> _Cell:
    """As PostgreSQL writes it."""
    if value is None:
        return TIMESTAMPTZ, None
    if not isinstance(value, str):
        raise ValueError("its time is neither a number nor a text")
    return TIMESTAMPTZ, value.replace("T", " ", 1).replace("Z", "+00").encode()


def _number(text: Number) -> int:
    if not text.lstrip("-").isdigit():
        return _DOUBLE
    fits = len(text) <= _BIGINT_DIGITS_MAX and _BIGINT_MIN <= int(text) <= _BIGINT_MAX
    return _BIGINT if fits else NUMERIC


def _bytea(content: bytes) -> bytes:
    """As the stream gives a bytea."""
    return b"\\x" + content.hex().encode()


def _id(place: Place) -> bytes:
    position, index = place
    return f"{format_position(position)}+{index}".encode()


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
