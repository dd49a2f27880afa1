"""A schema registry over the subset of Confluent's REST interface that all compatible ones share.

RegistryError
├── RegistryUnreachable    no answer, or one that says "not now" (5xx); trying again may help
└── RegistryRefused        an answer that says no; trying again changes nothing
Source: "Schema Registry API Reference", Confluent Platform 8; the mode IMPORT keeps our own ids.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

ANSWER_WITHIN_S = 10.0
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
# "Subject not found", "version not found", "schema not found": all with status 404.
_NOT_THERE = 404


class RegistryError(Exception):
    """The registry did not do what was asked."""


class RegistryUnreachable(RegistryError):
    """No answer, or one that says "not now"; trying again may help."""


class RegistryRefused(RegistryError):
    """The registry said no, with its own code and words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"the registry refused ({status}): {words}")
        self.status, self.words = status, words


@dataclass(frozen=True, slots=True)
class Registered:
    """One version as the registry holds it."""

    subject: str
    version: int
    id: int
    schema: dict[str, Any]


class Registry:
    """A client; a context manager. Every method raises RegistryError."""

    def __init__(self, url: str) -> None:
        self._url = url
        headers = {"Accept": _CONTENT_TYPE, "Content-Type": _CONTENT_TYPE}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=ANSWER_WITHIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back."""
        self._client.close()

    def subjects(self) -> list[str]:
        """All subjects."""
        found: list[str] = self._ask("GET", "/subjects") or []
        return found

    def find(self, subject: str, version: int) -> Registered | None:
        """One version of a subject; None where it is not there."""
        found = self._ask("GET", f"/subjects/{quote(subject, safe='')}/versions/{version}")
        if found is None:
            return None
        return Registered(found["subject"], found["version"], found["id"], json.loads(found["schema"]))

    def schema_of(self, schema_id: int) -> dict[str, Any] | None:
        """The schema under an id; None for an unknown one."""
        found = self._ask("GET", f"/schemas/ids/{schema_id}")
        if found is None:
            return None
        schema: dict[str, Any] = json.loads(found["schema"])
        return schema

    def import_version(self, registered: Registered) -> int:
        """Registers under the given id and version, with the subject in mode IMPORT meanwhile; the id that it got."""
        subject = quote(registered.subject, safe="")
        self._ask("PUT", f"/mode/{subject}?force=true", {"mode": "IMPORT"})
        try:
            asked = {
                "schema": json.dumps(registered.schema),
                "schemaType": "AVRO",
                "id": registered.id,
                "version": registered.version,
            }
            answer = self._ask("POST", f"/subjects/{subject}/versions", asked)
        finally:
            self._ask("PUT", f"/mode/{subject}?force=true", {"mode": "READWRITE"})
        if answer is None:
            raise RegistryRefused(_NOT_THERE, f"no such path: {self._url} is no schema registry")
        return int(answer["id"])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer as JSON; None for 404."""
        try:
            answer = self._client.request(method, path, content=None if body is None else json.dumps(body))
        except httpx.HTTPError as error:
            raise RegistryUnreachable(f"the registry at {self._url} does not answer: {error}") from None
        if answer.status_code == _NOT_THERE:
            return None
        if answer.status_code >= 500:
            raise RegistryUnreachable(f"the registry at {self._url} answered {answer.status_code}")
        try:
            document = answer.json()
        except ValueError:
            raise RegistryRefused(answer.status_code, "no JSON") from None
        if answer.status_code >= 400:
            raise RegistryRefused(answer.status_code, str(document.get("message", document)))
        return document


class RegistrySchemas:
    """Schemas by id for a codec, each asked for once; an id that is unknown is asked for again with a bound.

    Matches `FindSchema` of the codec. Raises RegistryUnreachable: an outage is no property of a record.
    """

    # A producer that runs ahead registers before it writes, so an id that is unknown stays so; a few foreign
    # records must not become as many calls.
    UNKNOWN_IDS_MAX = 1_000

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._unknown: set[int] = set()

    def __call__(self, schema_id: int) -> dict[str, Any] | None:
        """The schema under an id; None for an unknown one."""
        if schema_id in self._unknown:
            return None
        try:
            found = self._registry.schema_of(schema_id)
        except RegistryRefused:
            found = None
        if found is None and len(self._unknown) < self.UNKNOWN_IDS_MAX:
            self._unknown.add(schema_id)
        return found
