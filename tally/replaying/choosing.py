"""Which records of a range are meant: by key, time, type and version; cheapest question first."""

from __future__ import annotations

from schemas.codec import Codec
from schemas.envelope import Envelope, Message, from_rfc3339
from schemas.errors import Undecodable
from schemas.messages import wire_type
from tally.reading.reader import Record
from tally.replaying.asked import Bounds


class Choice:
    """Decides record by record, by bounds whose moments are fixed as RFC 3339.

    A record that is meant is decoded whole, so that nothing unreadable passes.
    """

    def __init__(self, bounds: Bounds, codec: Codec) -> None:
        self._codec = codec
        self._keys = frozenset(key.encode() for key in bounds.keys)
        self._types = frozenset(bounds.types)
        self._from_ms, self._to_ms = _epoch_ms(bounds.from_), _epoch_ms(bounds.to)
        self._first, self._last = bounds.from_version, bounds.to_version
        self._asks_version = self._first is not None or self._last is not None

    def choose(self, record: Record) -> Message | None:
        """The message, if it is meant; None if not. Raises Undecodable for what could be meant and cannot be read."""
        if self._keys and record.key not in self._keys:
            return None
        if self._from_ms is not None and record.timestamp_ms < self._from_ms:
            return None
        if self._to_ms is not None and record.timestamp_ms >= self._to_ms:
            return None
        envelope = Envelope.from_headers(record.headers)
        if self._types and envelope.type not in self._types:
            return None
        # What has no version, a command, lies outside all bounds of versions.
        if self._asks_version and not self._holds(envelope.version):
            return None
        body = self._codec.decode(record.value)
        if wire_type(type(body)) != envelope.type:
            raise Undecodable(f"header ce_type says {envelope.type}, the body is a {wire_type(type(body))}")
        return Message(envelope, body)

    def _holds(self, version: int | None) -> bool:
        if version is None:
            return False
        return (self._first is None or version >= self._first) and (self._last is None or version <= self._last)


def _epoch_ms(moment: str | None) -> int | None:
    return None if moment is None else round(from_rfc3339(moment).timestamp() * 1_000)
