"""Records as agents see them: a Batch is one partition's records of one transaction, a RawRecord one as it was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faust
import orjson
from confluent_kafka import Message

Headers = list[tuple[str, bytes]]

UNDECODABLE = "UNDECODABLE"
FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as it was read. `timestamp` is in seconds."""

    topic: str
    partition: int
    offset: int
    timestamp: float
    key: bytes | None
    value: bytes | None
    headers: Headers


# (record, reason, error) -> topic, key, value, headers of the dead letter
DeadLetter = Callable[[RawRecord, str, BaseException], tuple[str, bytes | None, bytes | None, Headers]]


def raw_record(message: Message) -> RawRecord:
    return RawRecord(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1] / 1000.0,
        message.key(),
        message.value(),
        message.headers() or [],
    )


class Batch:
    """The decoded records of one partition in one transaction, in order; iterating gives the values.

    Agents that decode a topic alike get the same `values`: nobody changes them.
    """

    def __init__(self, topic: str, partition: int, values: list[Any], messages: list[Message]) -> None:
        self.topic = topic
        self.partition = partition
        self.values = values
        self._messages = messages

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"<Batch {self.topic}[{self.partition}] {len(self.values)} records>"

    # Read when asked for: each list costs a pass over the messages, and most agents need one or two of them.
    @cached_property
    def keys(self) -> list[bytes | None]:
        return [m.key() for m in self._messages]

    @cached_property
    def offsets(self) -> list[int]:
        return [m.offset() for m in self._messages]

    @cached_property
    def timestamps(self) -> list[float]:
        """Seconds."""
        return [m.timestamp()[1] / 1000.0 for m in self._messages]

    @cached_property
    def headers(self) -> list[Headers]:
        return [m.headers() or [] for m in self._messages]

    def raw(self, index: int) -> RawRecord:
        return raw_record(self._messages[index])


class BatchSchema(faust.Schema):
    """Makes a topic deliver one Batch a partition.

    `decode` gets the value, or with `headers=True` the headers and the value. What it raises makes the record a dead
    letter. It is called in the fetch thread beside the agents' work, and in the event loop; agents of one topic that
    give the same function share what it gives.
    """

    def __init__(self, decode: Callable[..., Any] = orjson.loads, *, headers: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.decode = decode
        self.decodes_headers = headers

    def make(
        self, messages: list[Message], refused: Callable[[Message, Exception], None], ahead: list[Any] | None = None
    ) -> Batch | None:
        """The batch of one partition's messages; `refused` is called for each that cannot be decoded.

        `ahead`: their values, when they were decoded before.
        """
        first = messages[0]
        topic, partition = first.topic(), first.partition()
        found = self.decode_all(messages) if ahead is None else ahead
        if found is not None:
            return Batch(topic, partition, found, messages)
        values, kept = [], []
        for message in messages:
            try:
                values.append(self._decode_one(message))
            except Exception as error:
                refused(message, error)
            else:
                kept.append(message)
        return Batch(topic, partition, values, kept) if kept else None

    def decode_all(self, messages: list[Message]) -> list[Any] | None:
        """All values, or None when one is refused: at once is twice as fast as one by one, and nearly always right."""
        decode = self.decode
        try:
            if self.decodes_headers:
                return [decode(m.headers() or [], m.value()) for m in messages]
            return [decode(m.value()) for m in messages]
        except Exception:  # decode is the application's: it may raise anything
            return None

    def _decode_one(self, message: Message) -> Any:
        if self.decodes_headers:
            return self.decode(message.headers() or [], message.value())
        return self.decode(message.value())
