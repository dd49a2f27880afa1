"""Bodies to bytes and back: Avro behind the Confluent prefix, by generated straight-line code."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from schemas import generated
from schemas.catalogue import Entry, load
from schemas.errors import Undecodable, Unencodable
from schemas.interpreted import interpreted_reader, interpreted_writer
from schemas.messages import MESSAGES
from schemas.upcasting import UPCASTERS, Upcasters, steps_from
from schemas.varints import PREFIX_BYTES

_PREFIX = struct.Struct(">bI")

FindSchema = Callable[[int], dict[str, Any] | None]


class Codec(Protocol):
    """One message body to bytes and back."""

    def encode(self, body: Any) -> bytes:
        """Prefix (0x00 and the schema id, 4 bytes, big endian) and Avro body. Raises Unencodable."""

    def decode(self, payload: bytes | None) -> Any:
        """The body, of one of the classes of `schemas.messages`. Raises Undecodable and nothing else."""


class AvroCodec:
    """The codec over the committed catalogue; safe to share between threads.

    A schema's functions are generated when it is first met. With `generate` False, or for a schema that the
    generator does not cover, the Avro library interprets the schema each time: same bytes, same values, slower.
    `find` is asked for ids that the catalogue does not hold (a newer version that another process writes already);
    what it raises comes out of `decode`. Older versions climb to the newest by `upcasters`.
    """

    def __init__(
        self,
        entries: list[Entry] | None = None,
        generate: bool = True,
        find: FindSchema | None = None,
        classes: Iterable[type] = tuple(MESSAGES.values()),
        upcasters: Upcasters = UPCASTERS,
    ) -> None:
        self._generate, self._find, self._upcasters = generate, find, upcasters
        by_name = {cls.__name__: cls for cls in classes}
        self._subjects: dict[str, type] = {}
        self._by_id: dict[int, tuple[type, Entry]] = {}
        self._newest: dict[type, Entry] = {}
        self._writers: dict[type, generated.Write] = {}
        # By prefix, so that what has been read before is found without looking into it.
        self._readers: dict[bytes, generated.Read] = {}
        for entry in load() if entries is None else entries:
            cls = by_name[entry.class_name]
            self._by_id[entry.id] = cls, entry
            self._subjects[entry.subject] = cls
            # Entries come by id, so the newest version of a class is the one that stays.
            self._newest[cls] = entry

    def encode(self, body: Any) -> bytes:
        """See `Codec.encode`."""
        cls = type(body)
        write = self._writers.get(cls) or self._make_writer(cls)
        try:
            return write(body)
        except (ValueError, TypeError, AttributeError, OverflowError) as wrong:
            raise Unencodable(f"{cls.__name__}: {wrong}") from wrong

    def decode(self, payload: bytes | None) -> Any:
        """See `Codec.decode`."""
        if payload is None:
            raise Undecodable("the record has no value")
        read = self._readers.get(payload[:PREFIX_BYTES]) or self._make_reader(payload[:PREFIX_BYTES])
        try:
            return read(payload)
        except Exception as wrong:
            # Whatever a reader makes of foreign bytes (EOFError, IndexError, UnicodeDecodeError, OverflowError,
            # MemoryError of a huge length ...): they cannot be read, and that is all there is to say.
            raise Undecodable(f"schema id {_schema_id(payload)}: {type(wrong).__name__}: {wrong}") from wrong

    def _make_writer(self, cls: type) -> generated.Write:
        entry = self._newest.get(cls)
        if entry is None:
            raise Unencodable(f"{cls.__name__} is none of our messages")
        prefix = _PREFIX.pack(0, entry.id)
        made = None
        if self._generate:
            try:
                made = generated.writer(cls, entry.schema, prefix)
            except generated.Uncovered:
                # The Avro library covers it.
                pass
        self._writers[cls] = made = made or interpreted_writer(cls, entry.schema, prefix)
        return made

    def _make_reader(self, prefix: bytes) -> generated.Read:
        schema_id = _schema_id(prefix)
        cls, entry = self._by_id.get(schema_id) or self._found(schema_id)
        steps = steps_from(self._upcasters, entry.subject, entry.version, self._newest[cls].version)
        made = None
        if self._generate and not steps:
            try:
                made = generated.reader(cls, entry.schema)
            except generated.Uncovered:
                pass
        self._readers[prefix] = made = made or interpreted_reader(cls, entry.schema, steps)
        return made

    def _found(self, schema_id: int) -> tuple[type, Entry]:
        schema = None if self._find is None else self._find(schema_id)
        if schema is None:
            raise Undecodable(f"schema id {schema_id} is not in schemas/lock.json")
        subject = f"{schema.get('namespace')}.{schema.get('name')}"
        if subject not in self._subjects:
            raise Undecodable(f"schema id {schema_id} is {subject}, which is none of our messages")
        cls = self._subjects[subject]
        # Newer than all that we have: no step of ours begins there.
        return cls, Entry(subject, self._newest[cls].version + 1, schema_id, "", "", schema)


def _schema_id(payload: bytes) -> int:
    if len(payload) < PREFIX_BYTES or payload[0] != 0:
        raise Undecodable("the value does not begin with the Confluent prefix")
    found: int = _PREFIX.unpack_from(payload)[1]
    return found
