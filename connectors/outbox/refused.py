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


# A letter must itself fit into a topic with Kafka's default limit of 1 MiB; of a larger row it keeps this much.
_VALUE_BYTES_MAX = 900_000


def plain_letter(refusal: Refusal) -> LetterRecord:
    """For databases that know nothing of our messages: read without any schema.

    The key is the row's id, as the topic is compacted and holds one key a letter; the value and the headers are the
    row's own, and beside them stands which row it was and why.
    """
    about = {
        "dead_letter.reason": refusal.reason,
        "dead_letter.row_id": refusal.row_id,
        "dead_letter.topic": refusal.topic or "",
        "dead_letter.connector": refusal.connector,
    }
    headers: Headers = [*refusal.headers, *((name, text.encode()) for name, text in about.items())]
    headers.append(("dead_letter.key", refusal.key))
    # Never null: that would take the letter away.
    return LetterRecord(refusal.row_id.encode(), (refusal.value or b"")[:_VALUE_BYTES_MAX], headers)
