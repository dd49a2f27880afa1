"""`/schema-registry`: the reading half of Confluent's REST interface, so that clients of any language decode our topics.

What is told is the committed catalogue; nothing can be registered here. Errors have that interface's shape and codes.
Source: "Schema Registry API Reference", Confluent Platform 8.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from schemas.catalogue import Entry, load

router = APIRouter(prefix="/schema-registry", tags=["schema registry"])
MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
LATEST = "latest"


@router.get("/schemas/types")
def types() -> JSONResponse:
    """Avro is the only one."""
    return _told(["AVRO"])


@router.get("/schemas/ids/{schema_id}")
def schema(schema_id: int) -> JSONResponse:
    """The schema under the id that stands in bytes 1 to 4 of a record's value."""
    found = [entry for entry in _entries() if entry.id == schema_id]
    return _told({"schema": _text(found[0])}) if found else _no_schema()


@router.get("/schemas/ids/{schema_id}/versions")
def versions_of_schema(schema_id: int) -> JSONResponse:
    """Which subject has it, under which version."""
    found = [{"subject": entry.subject, "version": entry.version} for entry in _entries() if entry.id == schema_id]
    return _told(found) if found else _no_schema()


@router.get("/subjects")
def subjects() -> JSONResponse:
    """All subjects: full names of records."""
    return _told(sorted({entry.subject for entry in _entries()}))


@router.get("/subjects/{subject}/versions")
def versions(subject: str) -> JSONResponse:
    """The versions of a subject, from the first."""
    found = _of(subject)
    return _told([entry.version for entry in found]) if found else _no_subject(subject)


@router.get("/subjects/{subject}/versions/{version}")
def subject_version(subject: str, version: str) -> JSONResponse:
    """One version, or `latest`."""
    found = _of(subject)
    if not found:
        return _no_subject(subject)
    for entry in reversed(found):
        if version in (LATEST, str(entry.version)):
            document = {"subject": subject, "version": entry.version, "id": entry.id, "schema": _text(entry)}
            return _told(document)
    return _error(40402, f"Version {version} not found.")


@cache
def _entries() -> tuple[Entry, ...]:
    return tuple(load())


def _of(subject: str) -> list[Entry]:
    return sorted((entry for entry in _entries() if entry.subject == subject), key=lambda entry: entry.version)


def _text(entry: Entry) -> str:
    return json.dumps(entry.schema, separators=(",", ":"))


def _no_schema() -> JSONResponse:
    return _error(40403, "Schema not found")


def _no_subject(subject: str) -> JSONResponse:
    return _error(40401, f"Subject '{subject}' not found.")


def _error(code: int, message: str) -> JSONResponse:
    return JSONResponse({"error_code": code, "message": message}, 404, media_type=MEDIA_TYPE)


def _told(document: Any) -> JSONResponse:
    return JSONResponse(document, media_type=MEDIA_TYPE)
