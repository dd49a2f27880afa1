"""Records that were set aside, each with its reason; the key is the letter's id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """`origin` is the process that set the record aside; key, value and headers are the record's own bytes.

    `partition` and `offset` are null where the record never was in Kafka (an outbox row).
    `reason` is one line for people, `error` the class of the error. `state` is FAILED, or WAITING for a record behind a
    failed one; `lane` names what waits for one another. The last five are null where nothing waits behind the record.
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
    lane: str | None = None
    state: str | None = None
    attempts: int | None = None
    stack: str | None = None
    history: str | None = None


@dataclass(frozen=True, slots=True)
class ActOnDeadLetters:
    """What an operator wants: `act` is REDRIVE or DISCARD; of one letter, of all of a key, or (both None) of all.

    `lane` is where a redrive goes on that is too long for one transaction.
    """

    act: str
    by: str
    reason: str
    letter: str | None = None
    key: str | None = None
    lane: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLettersActed:
    """An act that was done, in the audit trail; `done` and `left` count records."""

    act: str
    by: str
    reason: str
    origin: str
    letter: str | None
    key: str | None
    done: int
    left: int
