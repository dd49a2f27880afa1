"""The envelope: what every message carries beside its body, as CloudEvents attributes in Kafka headers."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from schemas.errors import Undecodable
from schemas.open_twin import open_twin

SPECVERSION = "1.0"
# Ids that are derived, not drawn, lie in this name space (RFC 9562, version 5).
_NAMESPACE = uuid.UUID("6d5f0c4e-3f9b-5d55-9f0e-5d2d0c7a1b11").bytes

Headers = Iterable[tuple[str, bytes | str | None]]


def new_id() -> str:
    """A fresh message id."""
    return _as_uuid(os.urandom(16).hex(), 4)


def derive_id(cause_id: str, *place: object) -> str:
    """The id of what follows from message `cause_id` at `place`: the same each time that it is worked out again."""
    name = "\x1f".join([cause_id, *map(str, place)]).encode()
    return _as_uuid(hashlib.sha1(_NAMESPACE + name, usedforsecurity=False).hexdigest(), 5)


def _as_uuid(text: str, version: int) -> str:
    """Hexadecimal digits as an id; what uuid.uuid4 and uuid.uuid5 give, in a quarter of their time: every message has one."""
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-{version}{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


def now() -> datetime:
    """The time as we record it: UTC, whole milliseconds."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def to_rfc3339(moment: datetime) -> str:
    """`2026-11-24T17:32:06.123Z`; refuses a moment without a time zone."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat("T", "milliseconds")[: -len("+00:00")] + "Z"


def from_rfc3339(text: str) -> datetime:
    """The reverse of `to_rfc3339`; raises ValueError, also for a moment without a time zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who, what, when and why of a message.

    `subject` is the aggregate id and the record's key; `version` is that of an event in its history, None for a command.
    """

    id: str
    type: str
    source: str
    aggregatetype: str
    subject: str
    version: int | None
    recorded_at: datetime
    correlation_id: str
    causation_id: str
    traceparent: str | None = None

    def headers(self) -> list[tuple[str, bytes]]:
        """As Kafka headers, UTF-8 text; what is None has no header."""
        pairs = [
            ("ce_specversion", SPECVERSION),
            ("ce_id", self.id),
            ("ce_type", self.type),
            ("ce_source", self.source),
            ("ce_time", _stamp(self.recorded_at)),
            ("ce_subject", self.subject),
            ("aggregatetype", self.aggregatetype),
            ("correlationid", self.correlation_id),
            ("causationid", self.causation_id),
        ]
        if self.version is not None:
            pairs.append(("aggregateversion", str(self.version)))
        if self.traceparent is not None:
            pairs.append(("traceparent", self.traceparent))
        return [(name, text.encode()) for name, text in pairs]

    @classmethod
    def from_headers(cls, headers: Headers) -> Envelope:
        """Reads the headers of a record; a connector's bare `id` stands in for `ce_id`. Raises Undecodable."""
        pairs = headers if isinstance(headers, list) else list(headers)
        try:
            try:
                # As clients bring them, nearly always: bytes, and of those that are read none is absent.
                return _read(dict(pairs))
            except (AttributeError, TypeError, UnicodeDecodeError):
                return _read(_checked(pairs))
        except KeyError as missing:
            raise Undecodable(f"header {missing.args[0]} is missing") from None
        except ValueError as wrong:
            raise Undecodable(f"a header cannot be read: {wrong}") from None


_OpenEnvelope = open_twin(Envelope)


def _read(found: dict[str, Any]) -> Envelope:
    """Of UTF-8 bytes by name. Raises KeyError and ValueError; AttributeError and TypeError for what are no bytes."""
    get, id_ = found.get, found.get("ce_id") or found["id"]
    envelope: Any = _OpenEnvelope()
    envelope.id = id_.decode()
    envelope.type = found["ce_type"].decode()
    envelope.source = get("ce_source", b"").decode()
    envelope.aggregatetype = get("aggregatetype", b"").decode()
    envelope.subject = found["ce_subject"].decode()
    envelope.version = int(found["aggregateversion"]) if "aggregateversion" in found else None
    envelope.recorded_at = from_rfc3339(found["ce_time"].decode())
    envelope.correlation_id = get("correlationid", id_).decode()
    envelope.causation_id = get("causationid", id_).decode()
    envelope.traceparent = found["traceparent"].decode() if "traceparent" in found else None
    envelope.__class__ = Envelope
    read: Envelope = envelope
    return read


@dataclass(frozen=True, slots=True)
class Message:
    """A command or an event: envelope and body (one of the classes of `schemas.messages`)."""

    envelope: Envelope
    body: Any

    @classmethod
    def read(cls, envelope: Envelope, body: Any) -> Message:
        """The same as the constructor, in a third of its time."""
        message: Any = _OpenMessage()
        message.envelope = envelope
        message.body = body
        message.__class__ = cls
        made: Message = message
        return made


_OpenMessage = open_twin(Message)


def to_json(message: Message) -> dict[str, Any]:
    """The event envelope that people see: `{id, type, aggregateId, data, timestamp, version}`."""
    envelope = message.envelope
    return {
        "id": envelope.id,
        "type": envelope.type,
        "aggregateId": envelope.subject,
        "data": body_to_json(message.body),
        "timestamp": to_rfc3339(envelope.recorded_at),
        "version": envelope.version,
    }


def body_to_json(value: Any) -> Any:
    """A body as plain JSON values: moments as RFC 3339, bytes as hexadecimal text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: body_to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (list, tuple)):
        return [body_to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: body_to_json(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return to_rfc3339(value)
    if isinstance(value, bytes):
        return value.hex()
    return value


def body_hash(message: Message) -> str:
    """SHA-256 over type, subject and body: whether the same id came with the same content.

    Absent fields do not count, so that a new nullable field changes nothing.
    """
    said = [message.envelope.type, message.envelope.subject, _without_nulls(body_to_json(message.body))]
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


@lru_cache(maxsize=64)
def _stamp(moment: datetime) -> str:
    """What one batch sends has one moment; to write it anew each time was a third of a record's encoding."""
    return to_rfc3339(moment)


def _checked(headers: Headers) -> dict[str, bytes]:
    """What is there, as UTF-8 bytes."""
    return {name: _text(name, value).encode() for name, value in headers if value is not None}


def _text(name: str, value: bytes | str) -> str:
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Undecodable(f"header {name} is no UTF-8 text") from None
