"""The gate for schemas: every version readable by every other one, and the house's rules for what a schema may be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import AvroException
from avro.schema import parse

from schemas.catalogue import Entry, normalised_sha256
from tally.cli.evolution import evolved

# Moments are whole milliseconds; anything else would be read in another unit by somebody.
_LOGICAL_TYPES = {"timestamp-millis"}


def compare_lock(lock: dict[str, Any], folder: Path) -> Iterator[str]:
    """One line for each published file that changed or is gone, and each file that was never published."""
    locked = set()
    for subject, versions in lock.items():
        for version, row in versions.items():
            locked.add(row["file"])
            path = folder / row["file"]
            if not path.is_file():
                yield f"{row['file']}: published as {subject} version {version}, and gone"
            elif normalised_sha256(json.loads(path.read_text())) != row["sha256"]:
                yield f"{row['file']}: published and changed since; add a new version instead"
    ids = [row["id"] for versions in lock.values() for row in versions.values()]
    if len(ids) != len(set(ids)):
        yield "lock.json: one id stands for two schemas"
    for path in sorted((folder / "avro").glob("*/*.avsc")):
        file = path.relative_to(folder).as_posix()
        if file not in locked:
            yield f"{file}: not in lock.json; publish it with python -m schemas"


def compatible(entries: list[Entry]) -> Iterator[str]:
    """FULL_TRANSITIVE: each version reads what each other version wrote, and the reverse; no change of meaning."""
    by_subject: dict[str, list[Entry]] = {}
    for entry in entries:
        by_subject.setdefault(entry.subject, []).append(entry)
    for versions in by_subject.values():
        yield from evolved(versions)
        for index, newer in enumerate(versions):
            for older in versions[:index]:
                yield from _pair(newer, older)
                yield from _pair(older, newer)


def lint(entries: list[Entry]) -> Iterator[str]:
    """The house's rules: namespace, defaults of what may be null, logical types, no floating money, documentation."""
    for entry in entries:
        schema, where = entry.schema, entry.file
        if f"{schema.get('namespace')}.{schema.get('name')}" != entry.subject:
            yield f"{where}: named {schema.get('namespace')}.{schema.get('name')}, published as {entry.subject}"
        if not schema.get("doc"):
            yield f"{where}: has no doc"
        yield from _fields(schema, where)


def _pair(reader: Entry, writer: Entry) -> Iterator[str]:
    try:
        checker = ReaderWriterCompatibilityChecker()
        found = checker.get_compatibility(parse(json.dumps(reader.schema)), parse(json.dumps(writer.schema)))
    except AvroException as error:
        yield f"{reader.file}: {error}"
        return
    if found.compatibility is not SchemaCompatibilityType.compatible:
        reasons = "; ".join(sorted(str(message) for message in found.messages))
        yield f"{reader.file} (version {reader.version}) cannot read version {writer.version}: {reasons}"


def _fields(schema: dict[str, Any], where: str) -> Iterator[str]:
    for field in schema["fields"]:
        name, type_ = f"{where}: {field['name']}", field["type"]
        if not field.get("doc"):
            yield f"{name} has no doc"
        if field.get("aliases"):
            yield f"{name}: aliases are read by no codec of ours"
        if isinstance(type_, list):
            if type_[0] != "null" or len(type_) != 2:
                yield f"{name}: a union must be null and one other type, null first"
            elif "default" not in field or field["default"] is not None:
                yield f"{name}: may be null, so its default must be null"
            type_ = type_[-1]
        if type_ in ("float", "double"):
            yield f"{name}: {type_} cannot hold money or counts exactly"
        if isinstance(type_, dict):
            yield from _nested(type_, name)


def _nested(type_: dict[str, Any], name: str) -> Iterator[str]:
    logical = type_.get("logicalType")
    if logical is not None and logical not in _LOGICAL_TYPES:
        yield f"{name}: logical type {logical} is none of {', '.join(sorted(_LOGICAL_TYPES))}"
    if logical == "timestamp-millis" and type_["type"] != "long":
        yield f"{name}: a moment is a long"
    if type_["type"] == "record":
        yield from _fields(type_, name)
    elif type_["type"] == "array" and isinstance(type_["items"], dict):
        yield from _nested(type_["items"], name)
