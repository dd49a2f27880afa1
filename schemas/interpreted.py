"""A schema interpreted by the Avro library for each message: for what is not generated, and as its oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from io import BytesIO
from typing import Any, get_args, get_origin, get_type_hints

import fastavro

from schemas.messages import PARTS
from schemas.upcasting import Step, climb
from schemas.varints import PREFIX_BYTES, ends

_INT_LIMITS = {"int": 1 << 31, "long": 1 << 63}


def interpreted_writer(cls: type, schema: dict[str, Any], prefix: bytes) -> Callable[[Any], bytes]:
    """A function from an instance to prefix and body; it raises ValueError, TypeError or AttributeError."""
    parsed, to_wire = fastavro.parse_schema(schema), _to_wire(cls, schema)

    def encode(body: Any) -> bytes:
        out = BytesIO()
        out.write(prefix)
        fastavro.schemaless_writer(out, parsed, to_wire(body), strict=True)
        return out.getvalue()

    return encode


def interpreted_reader(cls: type, schema: dict[str, Any], steps: tuple[Step, ...] = ()) -> Callable[[bytes], Any]:
    """A function from prefix and body to an instance, by the steps of an older version.

    It raises whatever the library makes of foreign bytes.
    """
    parsed, build = fastavro.parse_schema(schema), _from_wire(cls)

    def decode(payload: bytes) -> Any:
        source = BytesIO(payload)
        source.seek(PREFIX_BYTES)
        body = build(climb(fastavro.schemaless_reader(source, parsed, None), steps))
        if source.tell() != len(payload):
            raise ends(payload, source.tell())
        return body

    return decode


def _to_wire(cls: type, schema: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
    """A function from an instance to the dict that fastavro writes.

    It checks whole numbers and moments itself: fastavro writes a float, a bool or a number out of range without
    a word, and a moment without a time zone as local time.
    """
    names = [field.name for field in fields(cls)]
    nested = {name: _to_wire(part, _items(schema, name)) for name, part in _parts(cls).items()}
    limits = {field["name"]: limit for field in schema["fields"] if (limit := _limit(field["type"])) is not None}
    moments = [field["name"] for field in schema["fields"] if _is_moment(field["type"])]

    def convert(body: Any) -> dict[str, Any]:
        wire = {name: getattr(body, name) for name in names}
        for name, limit in limits.items():
            value = wire[name]
            if value is not None and (type(value) is not int or not -limit <= value < limit):
                raise ValueError(f"{name} is {value!r}, not a whole number in range")
        for name in moments:
            value = wire[name]
            if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
                raise ValueError(f"{name} is {value!r}, not a moment with a time zone")
        for name, part in nested.items():
            wire[name] = [part(item) for item in wire[name]]
        return wire

    return convert


def _from_wire(cls: type) -> Callable[[dict[str, Any]], Any]:
    """A function from fastavro's dict to an instance; a field that an older version lacks takes its default."""
    parts = _parts(cls)
    known = {field.name for field in fields(cls)}

    def build(wire: dict[str, Any]) -> Any:
        for name, part in parts.items():
            wire[name] = tuple(part(**item) for item in wire[name])
        return cls(**{name: value for name, value in wire.items() if name in known})

    return build


def _parts(cls: type) -> dict[str, type]:
    """Fields that are tuples of parts, by name."""
    hints = get_type_hints(cls)
    found = {}
    for field in fields(cls):
        hint = hints[field.name]
        if get_origin(hint) is tuple and get_args(hint)[0] in PARTS:
            found[field.name] = get_args(hint)[0]
    return found


def _items(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(field for field in schema["fields"] if field["name"] == name)["type"]["items"]
    return found


def _limit(avro_type: Any) -> int | None:
    avro_type = _not_null(avro_type)
    return _INT_LIMITS.get(avro_type) if isinstance(avro_type, str) else None


def _is_moment(avro_type: Any) -> bool:
    avro_type = _not_null(avro_type)
    return isinstance(avro_type, dict) and avro_type.get("logicalType") == "timestamp-millis"


def _not_null(avro_type: Any) -> Any:
    if isinstance(avro_type, list):
        return next(branch for branch in avro_type if branch != "null")
    return avro_type
