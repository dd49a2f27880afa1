"""A replay into a file: JSON lines, or an Avro container that needs no registry to be read.

Exactly once: the bytes are made durable, then the row tells how many they are; a file is cut there before it goes on.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from fastavro import parse_schema
from fastavro.write import Writer

from schemas.catalogue import load
from schemas.envelope import Message, body_to_json
from tally.reading.reader import Record
from tally.reading.rows import row_of
from tally.replaying.errors import CannotGoOn, TakenOver, WrongReplay

AVRO_SUFFIX = ".avro"


class Form(Protocol):
    """How records become bytes."""

    def begin(self, file: IO[bytes]) -> None:
        """`file` stands at its end; a new one gets what comes before all records."""

    def put(self, record: Record, message: Message) -> None:
        """Takes one record."""

    def flush(self) -> None:
        """Hands everything taken to the file."""


class Lines:
    """One JSON object a line, as `tally consume -f jsonl` prints it."""

    def begin(self, file: IO[bytes]) -> None:
        """See `Form.begin`."""
        self._file = file

    def put(self, record: Record, message: Message) -> None:
        """See `Form.put`."""
        row = row_of(record, body_to_json(message.body))
        self._file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def flush(self) -> None:
        """See `Form.flush`."""


class Container:
    """The same fields in an Avro container; `data` is a union of the newest schemas of all our messages."""

    def begin(self, file: IO[bytes]) -> None:
        """See `Form.begin`."""
        # Behind the header of an old file the library takes up its schema and its marker by itself.
        self._writer = Writer(file, parse_schema(container_schema()))
        # By class name; these are as unique as the classes of `schemas.messages`.
        self._full_names = {subject.rsplit(".", 1)[1]: subject for subject in _newest()}

    def put(self, record: Record, message: Message) -> None:
        """See `Form.put`."""
        body = message.body
        data = (self._full_names[type(body).__name__], _plain(body))
        self._writer.write({**row_of(record, data), "timestamp": record.timestamp_ms})

    def flush(self) -> None:
        """See `Form.flush`."""
        self._writer.flush()


class File:
    """One file as a target; held by a lock, which a killed process gives back."""

    def __init__(self, path: Path, id_: str) -> None:
        self._path, self._id = path, id_
        self._form: Form = Container() if path.suffix == AVRO_SUFFIX else Lines()
        self._file: IO[bytes] | None = None

    def claim(self, is_new: bool) -> None:
        """See `Target.claim`."""
        mode = "x+b" if is_new else "r+b"
        try:
            self._file = self._path.open(mode)
        except FileExistsError:
            raise WrongReplay(f"{self._path} is there already; a replay never writes over a file") from None
        except OSError as error:
            raise CannotGoOn(f"{self._path}: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise TakenOver(self._id) from None

    def open(self, length: int) -> int:
        """See `Target.open`; also raises CannotGoOn for a file that lost bytes."""
        assert self._file is not None
        there = self._file.seek(0, os.SEEK_END)
        if there < length:
            raise CannotGoOn(f"{self._path} has {there} bytes; {length} were written: it was changed by somebody else")
        self._file.truncate(length)
        self._file.seek(length)
        self._form.begin(self._file)
        return self.settle()

    def put(self, record: Record, message: Message) -> None:
        """See `Target.put`."""
        try:
            self._form.put(record, message)
        except OSError as error:
            raise CannotGoOn(f"{self._path}: {error.strerror}") from None

    def settle(self) -> int:
        """See `Target.settle`."""
        assert self._file is not None
        try:
            self._form.flush()
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise CannotGoOn(f"{self._path}: {error.strerror}") from None
        return self._file.tell()

    def close(self, is_unused: bool = False) -> None:
        """See `Target.close`."""
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError:
            pass  # what could not be written is behind the durable length
        self._file = None
        if is_unused:
            self._path.unlink(missing_ok=True)


def container_schema() -> dict[str, Any]:
    """The schema of a container: one record type whose `data` is any of our messages."""
    text, whole = {"type": "string"}, {"type": "long"}
    seen: dict[str, dict[str, Any]] = {}
    union = [_named_once(schema, "", seen) for schema in _newest().values()]
    return {
        "type": "record",
        "name": "ReplayedRecord",
        "namespace": "tally",
        "fields": [
            {"name": "topic", "type": text},
            {"name": "partition", "type": {"type": "int"}},
            {"name": "offset", "type": whole},
            {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "key", "type": ["null", "string"]},
            {"name": "headers", "type": {"type": "map", "values": ["null", "string"]}},
            {"name": "id", "type": ["null", "string"]},
            {"name": "type", "type": ["null", "string"]},
            {"name": "aggregateId", "type": ["null", "string"]},
            {"name": "version", "type": ["null", "long"]},
            {"name": "data", "type": union},
        ],
    }


def check_new_file(path: Path) -> None:
    """Raises WrongReplay for a path at which no new file can be."""
    if path.exists():
        kind = "a folder" if path.is_dir() else "there already; a replay never writes over a file"
        raise WrongReplay(f"{path} is {kind}")
    if not path.parent.is_dir():
        raise WrongReplay(f"{path.parent} is no folder")
    if not os.access(path.parent, os.W_OK):
        raise WrongReplay(f"{path.parent} cannot be written to")


def _newest() -> dict[str, dict[str, Any]]:
    """The newest schema of each message by full name; entries come by id, so the last one stays."""
    return {entry.subject: entry.schema for entry in load()}


def _named_once(schema: Any, namespace: str, seen: dict[str, dict[str, Any]]) -> Any:
    """The schema with each named type spelled out where it first stands and named afterwards, as Avro wants it."""
    if isinstance(schema, list):
        return [_named_once(each, namespace, seen) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema["type"] != "record":
        return {name: _named_once(value, namespace, seen) for name, value in schema.items()}
    namespace = schema.get("namespace", namespace)
    full = f"{namespace}.{schema['name']}"
    if full in seen:
        if seen[full] != schema:
            raise ValueError(f"two schemas define {full} in two ways")
        return full
    seen[full] = schema
    inner = [{**each, "type": _named_once(each["type"], namespace, seen)} for each in schema["fields"]]
    return {**schema, "namespace": namespace, "fields": inner}


def _plain(value: Any) -> Any:
    """A body as fastavro writes it: dicts and lists; a tuple would be taken for a branch of a union."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(each) for name, each in _values(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


def _values(body: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(body):
        yield field.name, getattr(body, field.name)
