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

    key: bytes | None
    value: bytes | None
    headers: Headers


def plain_letter(refusal: Refusal) -> LetterRecord:
    """The row's own key, value and headers, and beside them which row it was and why: read without any schema."""
    about = {
        "dead_letter.reason": refusal.reason,
        "dead_letter.row_id": refusal.row_id,
        "dead_letter.topic": refusal.topic or "",
        "dead_letter.connector": refusal.connector,
    }
    headers: Headers = [*refusal.headers, *((name, text.encode()) for name, text in about.items())]
    return LetterRecord(refusal.key, refusal.value, headers)
