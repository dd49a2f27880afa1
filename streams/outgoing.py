"""What agents send: messages that follow from a cause, each with its topic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.envelope import Envelope, Message, derive_id
from schemas.messages import CommandAnswered, wire_type
from schemas.topics import SAGAS_REPLIES

# Whoever sends commands under this source gets an answer to each on sagas.replies.
SAGA_SOURCE = "/tally/sagas"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message and the topic that it goes to; the key is the message's subject."""

    topic: str
    message: Message


@dataclass(frozen=True, slots=True)
class Address:
    """Of whom a message speaks: source, aggregate type and aggregate id; version for events only."""

    source: str
    aggregatetype: str
    subject: str
    version: int | None = None


def follow(cause: Envelope, id_: str, to: Address, body: Any, at: datetime) -> Message:
    """The message `body` that `cause` leads to, recorded at `at`, in the same affair."""
    envelope = Envelope(
        id=id_,
        type=wire_type(type(body)),
        source=to.source,
        aggregatetype=to.aggregatetype,
        subject=to.subject,
        version=to.version,
        recorded_at=at,
        correlation_id=cause.correlation_id,
        causation_id=cause.id,
        traceparent=cause.traceparent,
    )
    return Message(envelope, body)


def cause_in_a_row(id_: str, of: Address, at: datetime, correlation_id: str | None = None) -> Envelope:
    """The cause of what follows from a row, not from a message: a deadline, an old hold. `id_` tells what began the row."""
    return Envelope(
        id=id_,
        type="",
        source=of.source,
        aggregatetype=of.aggregatetype,
        subject=of.subject,
        version=of.version,
        recorded_at=at,
        correlation_id=id_ if correlation_id is None else correlation_id,
        causation_id=id_,
    )


def wants_answer(command: Envelope) -> bool:
    """Whether the command came from a saga."""
    return command.source == SAGA_SOURCE


def answer(command: Envelope, body: CommandAnswered, order_id: str, source: str, at: datetime) -> Outgoing:
    """The answer to a saga's command."""
    to = Address(source, "sagas", order_id)
    return Outgoing(SAGAS_REPLIES, follow(command, derive_id(command.id, "answer"), to, body, at))
