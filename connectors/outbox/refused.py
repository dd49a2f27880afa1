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


# A letter must itself fit into a topic with Kafka's default limit of 1 MiB; of a larger row it keeps this much.
_VALUE_BYTES_MAX = 900_000


def plain_letter(refusal: Refusal) -> LetterRecord:
    """For databases that know nothing of our messages: the row's id as key, its payload as value, the rest as headers."""
    value = refusal.value or b""
    told = {"reason": refusal.reason, "topic": refusal.topic or "", "connector": refusal.connector}
    headers: Headers = [(f"deadletter_{name}", text.encode()) for name, text in told.items()]
    headers.append(("deadletter_key", refusal.key))
    return LetterRecord(refusal.row_id.encode(), value[:_VALUE_BYTES_MAX], headers + refusal.headers)
