"""A record that waits: as it was read, and how it stands; and its row in the table `waiting`."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from faust_rdkafka import RawRecord
from schemas.letters import FAILED, WAITING, Place, SetAside, Standing, letter_id_of

# A row must fit into a changelog with Kafka's default limit of 1 MiB, in base64. Of a larger record only its hash
# stays, and its place: it is still in its own topic.
VALUE_BYTES_MAX = 600_000

Row = dict[str, Any]


class TooLarge(Exception):
    """A record that was not kept for its size: it cannot be redriven, only discarded and sent again."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"the record was too large to be kept (SHA-256 of its value: {digest})")


@dataclass(frozen=True, slots=True)
class Kept:
    """`agent` is the agent that is to handle the record; `digest` stands for a value that was too large."""

    agent: str
    record: RawRecord
    standing: Standing
    digest: str | None = None

    @property
    def origin(self) -> str:
        """Whose letter it is."""
        return f"worker/{self.agent}"

    @property
    def aside(self) -> SetAside:
        """The record, as letters have it."""
        record = self.record
        place = Place(record.topic, record.partition, record.offset)
        return SetAside(place, record.key, record.value, record.headers)

    @property
    def letter_id(self) -> str:
        """Its letter's id."""
        return letter_id_of(self.origin, self.aside.place, self.record.key)

    @property
    def is_failed(self) -> bool:
        """Whether it was tried, and not only found the lane occupied."""
        return self.standing.state == FAILED

    def failed(self, error: BaseException, at: datetime) -> Kept:
        """After one more try."""
        return replace(self, standing=self.standing.failed(error, at))


def keep(agent: str, lane: str, record: RawRecord) -> Kept:
    """A record as it begins to wait."""
    value, digest = record.value, None
    if value is not None and len(value) > VALUE_BYTES_MAX:
        record, digest = replace(record, value=None), sha256(value).hexdigest()
    return Kept(agent, record, Standing(lane, WAITING), digest)


def to_row(kept: Kept) -> Row:
    """The record as plain JSON values."""
    record, standing = kept.record, kept.standing
    return {
        "letter": kept.letter_id,
        "agent": kept.agent,
        "lane": standing.lane,
        "state": standing.state,
        "attempts": standing.attempts,
        "history": standing.history,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": _text(record.key),
        "value": _text(record.value),
        "digest": kept.digest,
        "headers": [[name, _text(value)] for name, value in record.headers],
    }


def from_row(row: Row) -> Kept:
    """The reverse of `to_row`."""
    record = RawRecord(
        row["topic"],
        row["partition"],
        row["offset"],
        row["timestamp"],
        _bytes(row["key"]),
        _bytes(row["value"]),
        [(name, _bytes(value) or b"") for name, value in row["headers"]],
    )
    standing = Standing(row["lane"], row["state"], row["attempts"], row["history"])
    return Kept(row["agent"], record, standing, row["digest"])


def _text(content: bytes | None) -> str | None:
    return None if content is None else b64encode(content).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)
