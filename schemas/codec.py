"""Bodies to bytes and back: Avro behind the Confluent prefix, by fastavro."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from io import BytesIO
from typing import Any, Protocol, get_args, get_origin, get_type_hints

import fastavro

from schemas.catalogue import Entry, load
from schemas.errors import Undecodable, Unencodable
from schemas.messages import MESSAGES, PARTS

_PREFIX = struct.Struct(">bI")
_INT_LIMITS = {"int": 1 << 31, "long": 1 << 63}


class Codec(Protocol):
    """One message body to bytes and back."""

    def encode(self, body: Any) -> bytes:
        """Prefix (0x00 and the schema id, 4 bytes, big endian) and Avro body. Raises Unencodable."""

    def decode(self, payload: bytes | None) -> Any:
        """The body, of one of the classes of `schemas.messages`. Raises Undecodable and nothing else."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How one class is written and read: its newest schema and how its fields map."""

    prefix: bytes
    schema: Any
    to_wire: Callable[[Any], dict[str, Any]]


class AvroCodec:
    """The codec over the committed catalogue; safe to share between threads."""

    def __init__(self, entries: list[Entry] | None = None) -> None:
        self._forms: dict[type, _Form] = {}
        self._readers: dict[int, tuple[Any, Callable[[dict[str, Any]], Any]]] = {}
        classes = {cls.__name__: cls for cls in MESSAGES.values()}
        for entry in load() if entries is None else entries:
            cls, schema = classes[entry.class_name], fastavro.parse_schema(entry.schema)
            self._readers[entry.id] = (schema, _from_wire(cls))
            # Entries come by id, so the newest version of a class is the one that stays.
            self._forms[cls] = _Form(_PREFIX.pack(0, entry.id), schema, _to_wire(cls, entry.schema))

    def encode(self, body: Any) -> bytes:
        """See `Codec.encode`."""
        form = self._forms.get(type(body))
        if form is None:
            raise Unencodable(f"{type(body).__name__} is none of our messages")
        out = BytesIO()
        out.write(form.prefix)
        try:
            fastavro.schemaless_writer(out, form.schema, form.to_wire(body), strict=True)
        except (ValueError, TypeError, AttributeError, OverflowError) as wrong:
            raise Unencodable(f"{type(body).__name__}: {wrong}") from wrong
        return out.getvalue()

    def decode(self, payload: bytes | None) -> Any:
        """See `Codec.decode`."""
        if payload is None:
            raise Undecodable("the record has no value")
        if len(payload) < _PREFIX.size or payload[0] != 0:
            raise Undecodable("the value does not begin with the Confluent prefix")
        schema_id = _PREFIX.unpack_from(payload)[1]
        reader = self._readers.get(schema_id)
        if reader is None:
            raise Undecodable(f"schema id {schema_id} is not in schemas/lock.json")
        schema, build = reader
        source = BytesIO(payload)
        source.seek(_PREFIX.size)
        try:
            body = build(fastavro.schemaless_reader(source, schema, None))
        except Exception as wrong:
            # Whatever a reader makes of foreign bytes (EOFError, IndexError, UnicodeDecodeError, OverflowError,
            # MemoryError of a huge length ...): they cannot be read, and that is all there is to say.
            raise Undecodable(f"schema id {schema_id}: {type(wrong).__name__}: {wrong}") from wrong
        if source.tell() != len(payload):
            raise Undecodable(f"schema id {schema_id}: {len(payload) - source.tell()} bytes are left over")
        return body


def _to_wire(cls: type, schema: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
    """A function from an instance to the dict that fastavro writes.

    It checks whole numbers itself: fastavro writes a float, a bool or a number out of range without a word.
    """
    names = [field.name for field in fields(cls)]
    nested = {name: _to_wire(part, _items(schema, name)) for name, part in _parts(cls).items()}
    limits = {field["name"]: limit for field in schema["fields"] if (limit := _limit(field["type"])) is not None}

    def convert(body: Any) -> dict[str, Any]:
        wire = {name: getattr(body, name) for name in names}
        for name, limit in limits.items():
            value = wire[name]
            if value is not None and (type(value) is not int or not -limit <= value < limit):
                raise ValueError(f"{name} is {value!r}, not a whole number in range")
        for name, part in nested.items():
            wire[name] = [part(item) for item in wire[name]]
        return wire

    return convert


def _from_wire(cls: type) -> Callable[[dict[str, Any]], Any]:
    """A function from fastavro's dict to an instance; a field that an older version lacks takes its default."""
    parts = _parts(cls)
    if not parts:
        return lambda wire: cls(**wire)

    def build(wire: dict[str, Any]) -> Any:
        for name, part in parts.items():
            wire[name] = tuple(part(**item) for item in wire[name])
        return cls(**wire)

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
    if isinstance(avro_type, list):
        avro_type = next(branch for branch in avro_type if branch != "null")
    return _INT_LIMITS.get(avro_type) if isinstance(avro_type, str) else None
