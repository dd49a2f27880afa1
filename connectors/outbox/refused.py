"""A row that Kafka can never take: what is known of it, and the record that a dead letter of it becomes."""

from __future__ import annotations

from dataclasses import dataclass

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row and why it cannot be sent; `topic` is None when not even that could be worked out."""

    row_id: str
    topic: str | None
    key: bytes | None
    value: bytes | None
    headers: Headers
    reason: str
    connector: str


@dataclass(frozen=True, slots=True)
class LetterRecord:
    """A dead letter, ready to be sent. The same refusal must give the same letter: it may be made again after an abort."""

    key: bytes
    value: bytes
    headers: Headers
