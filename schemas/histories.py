"""One event of a history as the index of histories keeps it and tells it: the record itself, in JSON.

A row is `{"partition", "offset", "headers": {name: text}, "payload": base64}`: what lies in Kafka, undecoded, so that
each reader decodes it with its own codec and an index never has to be rebuilt for a new version of a message.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import takewhile
from typing import Any

import orjson

from schemas.codec import Codec
from schemas.envelope import Message
from schemas.errors import DamagedRecord, Undecodable
from schemas.records import decode_record

Row = dict[str, Any]
# A sum is told in JSON, whose numbers are exact to 53 bits in some readers.
_DIGEST_BYTES = 6


def to_row(partition: int, offset: int, headers: list[tuple[str, bytes | None]], value: bytes) -> Row:
    """The row of a record. Raises Undecodable for headers that are no UTF-8 text."""
    try:
        texts = {name: text.decode() for name, text in headers if text is not None}
    except UnicodeDecodeError as wrong:
        raise Undecodable(f"a header is no UTF-8: {wrong}") from wrong
    return {"partition": partition, "offset": offset, "headers": texts, "payload": base64.b64encode(value).decode()}


@dataclass(slots=True)
class Sum:
    """What a set of rows comes to, in whatever order they are added: how many, and their digests by exclusive or.

    `until` bounds the offsets that count, so that two sides that grow compare the same records.
    """

    until: int
    events: int = 0
    digest: int = 0

    def add(self, row: Row) -> None:
        """Counts a row that lies before `until`."""
        if row["offset"] < self.until:
            self.events += 1
            self.digest ^= int.from_bytes(blake2b(orjson.dumps(row), digest_size=_DIGEST_BYTES).digest())


def message_of(row: Row, codec: Codec) -> Message:
    """The event of a row. Raises Undecodable, also for what is no row."""
    try:
        headers = [(name, text.encode()) for name, text in row["headers"].items()]
        payload = base64.b64decode(row["payload"], validate=True)
    except (KeyError, TypeError, AttributeError, binascii.Error, ValueError) as wrong:
        raise Undecodable(f"this is no row of a history: {wrong}") from wrong
    return decode_record(headers, payload, codec)


def events_of(rows: Iterable[Row], of: tuple[str, str], first: int, codec: Codec) -> list[Message]:
    """Events of the aggregate `of` (type, id) from version `first` on, as far as `rows` have them without a gap.

    Raises DamagedRecord, also for an event of another aggregate.
    """
    events = [_event(row, of, codec) for row in rows]
    numbered = takewhile(lambda pair: pair[1].envelope.version == pair[0], enumerate(events, start=first))
    return [event for _, event in numbered]


def _event(row: Row, of: tuple[str, str], codec: Codec) -> Message:
    try:
        message = message_of(row, codec)
        there = message.envelope.aggregatetype, message.envelope.subject
        if there != of:
            raise Undecodable(f"an event of {'/'.join(there)} stands under {'/'.join(of)}")
    except Undecodable as error:
        raise DamagedRecord(f"{of[0]}.events", row.get("partition", -1), row.get("offset", -1), error.reason) from None
    return message
