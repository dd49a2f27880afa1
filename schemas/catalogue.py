"""The catalogue of schemas: every published version as a file, its id from the committed lock.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import Incompatible
from schemas.messages import MESSAGES

FOLDER = Path(__file__).parent
LOCK = FOLDER / "lock.json"
# Ids start high: should somebody read our topics with a registry that knows nothing of them,
# an id must be unknown there rather than mean another schema (Avro bodies carry no type).
FIRST_ID = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One published version of one schema; `schema` is the parsed JSON of its file."""

    subject: str
    version: int
    id: int
    file: str
    sha256: str
    schema: dict[str, Any]

    @property
    def class_name(self) -> str:
        return self.subject.rsplit(".", 1)[1]


def normalised_sha256(schema: dict[str, Any]) -> str:
    """Identity of a schema: the hash of its whole JSON, logical types and documentation included.

    Avro's own canonical form drops logical types and defaults, so that a changed scale would pass unseen.
    """
    return hashlib.sha256(json.dumps(schema, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load() -> list[Entry]:
    """Every version in the lock file, by id. Raises Incompatible when a published file was changed or is gone."""
    entries, findings = [], []
    for subject, versions in json.loads(LOCK.read_text()).items():
        for version, row in versions.items():
            path = FOLDER / row["file"]
            if not path.is_file():
                findings.append(f"{row['file']} was published and is gone")
                continue
            schema = json.loads(path.read_text())
            if normalised_sha256(schema) != row["sha256"]:
                findings.append(f"{row['file']} was published and has changed; add a new version instead")
            entries.append(Entry(subject, int(version), row["id"], row["file"], row["sha256"], schema))
    if findings:
        raise Incompatible(findings)
    return sorted(entries, key=lambda entry: entry.id)


def files() -> Iterator[tuple[str, int, Path]]:
    """Every schema file as (subject, version, path), versions in order."""
    for path in sorted(
        (FOLDER / "avro").glob("*/*.avsc"), key=lambda p: (p.parent.name, p.name.split(".")[0], _version(p))
    ):
        yield f"tally.{path.parent.name}.{path.name.split('.')[0]}", _version(path), path


def unpublished() -> list[tuple[str, int, Path]]:
    """Schema files that the lock file does not hold yet."""
    locked = json.loads(LOCK.read_text()) if LOCK.is_file() else {}
    return [
        (subject, version, path) for subject, version, path in files() if str(version) not in locked.get(subject, {})
    ]


def publish() -> int:
    """Appends every new schema file to the lock file; returns how many. What stands there never changes."""
    locked = json.loads(LOCK.read_text()) if LOCK.is_file() else {}
    next_id = max((row["id"] for versions in locked.values() for row in versions.values()), default=FIRST_ID) + 1
    fresh = unpublished()
    for subject, version, path in fresh:
        schema = json.loads(path.read_text())
        row = {"id": next_id, "file": path.relative_to(FOLDER).as_posix(), "sha256": normalised_sha256(schema)}
        locked.setdefault(subject, {})[str(version)] = row
        next_id += 1
    LOCK.write_text(json.dumps(locked, indent=2) + "\n")
    return len(fresh)


def missing() -> list[str]:
    """Messages that have a class but no schema, one line each."""
    have = {subject.rsplit(".", 1)[1] for subject, _, _ in files()}
    return [f"{cls.__name__} has no schema in schemas/avro" for cls in MESSAGES.values() if cls.__name__ not in have]


def _version(path: Path) -> int:
    return int(path.name.split(".")[1])
