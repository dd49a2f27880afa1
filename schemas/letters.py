"""Dead letters: a record that cannot be read or handled, as a message of its own with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from schemas.envelope import Envelope, Headers, Message, derive_id
from schemas.messages import DeadLettered, wire_type

# A letter must itself fit into a topic with Kafka's default limit of 1 MiB; of a larger record it keeps this much.
VALUE_BYTES_MAX = 900_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where the record stood; partition and offset are None for an outbox row, which never was in Kafka."""

    topic: str
    partition: int | None
    offset: int | None
    row_id: str | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """The record itself, as it was."""

    place: Place
    key: bytes | None
    value: bytes | None
    headers: Headers


def dead_letter(origin: str, record: SetAside, error: Exception, recorded_at: datetime) -> Message:
    """The letter of a record; its id follows from the record's place, so that setting aside twice makes one letter."""
    place = record.place
    stood = place.row_id or f"{place.topic}/{place.partition}/{place.offset}"
    letter_id = derive_id(stood, origin, record.key)
    value = record.value
    reason = str(error) or type(error).__name__
    if value is not None and len(value) > VALUE_BYTES_MAX:
        reason = f"{reason} (the value of {len(value)} bytes is cut to {VALUE_BYTES_MAX})"
        value = value[:VALUE_BYTES_MAX]
    body = DeadLettered(
        origin=origin,
        topic=place.topic,
        partition=place.partition,
        offset=place.offset,
        key=record.key,
        value=value,
        headers={name: _bytes(content) for name, content in record.headers if content is not None},
        reason=reason,
        error=type(error).__name__,
        recorded_at=recorded_at,
    )
    envelope = Envelope(
        id=letter_id,
        type=wire_type(DeadLettered),
        source=f"/tally/{origin}",
        aggregatetype="dead-letters",
        subject=letter_id,
        version=None,
        recorded_at=recorded_at,
        correlation_id=letter_id,
        causation_id=letter_id,
    )
    return Message(envelope, body)


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content
