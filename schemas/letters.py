"""Dead letters: a record that cannot be read or handled, as a message of its own with the reason."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import datetime

from schemas.envelope import Envelope, Headers, Message, derive_id, to_rfc3339
from schemas.messages import DeadLettered, wire_type

# A letter must itself fit into a topic with Kafka's default limit of 1 MiB; of a larger record it keeps this much.
VALUE_BYTES_MAX = 900_000
# The end of a stack tells where it failed; the lines of the last tries tell how it went.
STACK_CHARS_MAX = 4_000
HISTORY_LINES_MAX = 20

# FAILED: it was tried and refused. WAITING: an earlier record of its lane was.
FAILED, WAITING = "FAILED", "WAITING"
# What an operator may ask for.
REDRIVE, DISCARD = "REDRIVE", "DISCARD"


class WaitsBehind(Exception):
    """The name that the letter of a waiting record gives to its error."""

    def __init__(self) -> None:
        super().__init__("an earlier record that it depends on was set aside")


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


@dataclass(frozen=True, slots=True)
class Standing:
    """How a record stands in its lane: `attempts` were made, `history` has a line for each of the last."""

    lane: str
    state: str
    attempts: int = 0
    history: str = ""

    def failed(self, error: BaseException, at: datetime) -> Standing:
        """After one more try."""
        line = f"{to_rfc3339(at)} {type(error).__name__}: {one_line(error)}"
        lines = [*filter(None, self.history.split("\n")), line][-HISTORY_LINES_MAX:]
        return Standing(self.lane, FAILED, self.attempts + 1, "\n".join(lines))


def one_line(error: BaseException) -> str:
    """What an error says, in one line that is never empty."""
    return " ".join(str(error).split()) or type(error).__name__


def letter_id_of(origin: str, place: Place, key: bytes | None) -> str:
    """Follows from the record's place, so that setting aside twice makes one letter."""
    return derive_id(place.row_id or f"{place.topic}/{place.partition}/{place.offset}", origin, key)


def dead_letter(
    origin: str, record: SetAside, error: BaseException, recorded_at: datetime, standing: Standing | None = None
) -> Message:
    """The letter of a record; without a standing nothing waits behind it."""
    place = record.place
    letter_id = letter_id_of(origin, place, record.key)
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
        lane=None if standing is None else standing.lane,
        state=None if standing is None else standing.state,
        attempts=None if standing is None else standing.attempts,
        stack=_stack(error),
        history=None if standing is None else standing.history or None,
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


def _stack(error: BaseException) -> str | None:
    if error.__traceback__ is None:
        return None
    return "".join(traceback.format_exception(error))[-STACK_CHARS_MAX:]


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content
