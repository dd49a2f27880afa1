"""Records that were set aside, each with its reason; the key is the letter's id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """`origin` is the process that set the record aside; key, value and headers are the record's own bytes.

    `partition` and `offset` are null where the record never was in Kafka (an outbox row).
    `reason` is one line for people, `error` the class of the error.
    """

    origin: str
    topic: str
    partition: int | None
    offset: int | None
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    reason: str
    error: str
    recorded_at: datetime
