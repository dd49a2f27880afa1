"""The value of a record: the payload alone or in an envelope with further columns, plain, as JSON, or as JSON with schemas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from connectors.outbox import json_text
from connectors.outbox.config import Routing
from connectors.outbox.converters import schema_opening, written
from connectors.outbox.kinds import Kind
from connectors.outbox.pgoutput import Values

# Java's String.trim takes away these.
_BLANKS = bytes(range(33))

MakeValue = Callable[[Values], bytes | None]


class Place(NamedTuple):
    """Where a column stands in the row, and what it is."""

    at: int
    kind: Kind
    required: bool


class Envelope(NamedTuple):
    """Further members of the value, and what names the schema: prefix, routing column, version column."""

    members: tuple[tuple[str, Place], ...]
    schema_prefix: str
    route_at: int
    version_at: int | None


class _Part(NamedTuple):
    """The payload as JSON, and its schema when it was asked for."""

    json: bytes
    schema: str


def value_maker(rules: Routing, payload: Place, envelope: Envelope) -> MakeValue:
    """The function that makes a row's value; it raises ValueError."""
    if envelope.members or rules.value_form.kind == "json":
        make = _json_maker(rules, payload, envelope)
    else:
        make = _plain_maker(rules, payload)
    if not rules.tombstone_on_empty_payload:
        return make
    index, is_bytes = payload.at, payload.kind.schema["type"] == "bytes"

    def value(values: Values) -> bytes | None:
        content = values[index]
        if content is None or (not is_bytes and not content.strip(_BLANKS)):
            return None
        return make(values)

    return value


def _plain_maker(rules: Routing, payload: Place) -> MakeValue:
    index, form = payload.at, written(payload.kind, rules.value_form, payload.required, payload.kind.plain)
    if (convert := form.convert) is None:
        return lambda values: values[index]

    def value(values: Values) -> bytes | None:
        content = values[index]
        return None if content is None else convert(content)

    return value


def _json_maker(rules: Routing, payload: Place, envelope: Envelope) -> MakeValue:
    with_schemas = rules.value_form.kind == "json" and rules.value_form.schemas
    part = _expanding(rules, payload) if _is_expanded(rules, payload) else _one(payload)
    if not envelope.members:
        if not with_schemas:
            return lambda values: part(values).json

        def alone(values: Values) -> bytes:
            json, schema = part(values)
            return schema_opening(schema) + json + b"}"

        return alone
    members = [(json_text.quote(name).encode() + b":", place) for name, place in envelope.members]

    def together(values: Values) -> bytes:
        json, schema = part(values)
        listed = [b'"payload":' + json]
        for name, (index, kind, _) in members:
            content = values[index]
            listed.append(name + (b"null" if content is None else kind.json(content)))
        whole = b"{" + b",".join(listed) + b"}"
        if not with_schemas:
            return whole
        return schema_opening(_envelope_schema(envelope, schema, values)) + whole + b"}"

    return together


def _is_expanded(rules: Routing, payload: Place) -> bool:
    return rules.expand_json and payload.kind.schema["type"] == "string"


def _one(place: Place) -> Callable[[Values], _Part]:
    """A column as it is."""
    index, convert, schema = place.at, place.kind.json, place.kind.schema_text(not place.required)

    def part(values: Values) -> _Part:
        content = values[index]
        return _Part(b"null" if content is None else convert(content), schema)

    return part


def _expanding(rules: Routing, place: Place) -> Callable[[Values], _Part]:
    """A column whose text is JSON; what is no JSON stays the string that it is."""
    index, as_string, string_schema = place.at, place.kind.json, place.kind.schema_text(not place.required)
    leaves_out = (rules.json_nulls == "ignore", rules.json_empty_arrays == "ignore")
    with_schemas = rules.value_form.kind == "json" and rules.value_form.schemas
    # A column of type json holds JSON whatever it begins with; a text does only if it looks so.
    beginnings = None if place.kind.schema.get("name") == "io.debezium.data.Json" else (b"{", b"[")

    def part(values: Values) -> _Part:
        content = values[index]
        if content is None:
            return _Part(b"null", string_schema)
        if beginnings is not None and not content.lstrip(_BLANKS).startswith(beginnings):
            return _Part(as_string(content), string_schema)
        try:
            found: Any = json_text.parse(content.decode())
            if any(leaves_out):
                found = json_text.without(found, *leaves_out)
            schema = json_text.schema_text(json_text.infer(found, "payload"), optional=True) if with_schemas else ""
            return _Part(json_text.write(found).encode(), schema)
        except (ValueError, RecursionError):
            return _Part(as_string(content), string_schema)

    return part


def _envelope_schema(envelope: Envelope, payload_schema: str, values: Values) -> str:
    # The payload's schema is ready as text, so its field's name goes in before the brace that closes it.
    fields = [payload_schema[:-1] + ',"field":"payload"}']
    fields += [place.kind.schema_text(not place.required, name) for name, place in envelope.members]
    routed = values[envelope.route_at] or b""
    name = json_text.quote(f"{envelope.schema_prefix}.{routed.decode()}.Value")
    version = None if envelope.version_at is None else values[envelope.version_at]
    closing = "" if version is None else f',"version":{version.decode()}'
    return f'{{"type":"struct","fields":[{",".join(fields)}],"optional":false,"name":{name}{closing}}}'
