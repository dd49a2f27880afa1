"""PostgreSQL's texts of values, as the bytes that Debezium would put into a key, a header or a payload."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

Convert = Callable[[bytes], bytes]

BOOL, BYTEA, JSON, JSONB, DATE, TIMESTAMP, TIMESTAMPTZ = 16, 17, 114, 3802, 1082, 1114, 1184
TIME = 1083

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# `2024-02-29 12:34:56.123456+02`; a year has four digits here, what lies before or beyond has no place in Kafka.
_ZONE_HOURS = re.compile(r"[+-]\d\d$")


def raw_bytes(text: bytes) -> bytes:
    """A bytea's bytes from its hex text. Raises ValueError."""
    if text[:2] != b"\\x":
        raise ValueError("a bytea that is not in hex form: bytea_output was changed")
    return bytes.fromhex(text[2:].decode("ascii"))


def moment(text: bytes) -> datetime:
    """An aware UTC moment from a timestamp (taken as UTC) or timestamptz. Raises ValueError, also for `infinity`."""
    content = text.decode("ascii")
    if _ZONE_HOURS.search(content):
        content += ":00"
    found = datetime.fromisoformat(content)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def epoch_ms(text: bytes) -> int:
    """Unix milliseconds, never negative: Kafka has no time before 1970. Raises ValueError."""
    found = (moment(text) - _EPOCH) // timedelta(milliseconds=1)
    if found < 0:
        raise ValueError("a time before 1970")
    return found


def _boolean(text: bytes) -> bytes:
    return b"true" if text == b"t" else b"false"


def _microseconds(text: bytes) -> bytes:
    """As Debezium's MicroTimestamp: digits of Unix microseconds."""
    return b"%d" % ((moment(text) - _EPOCH) // _MICROSECOND)


def _zoned(text: bytes) -> bytes:
    """As Debezium's ZonedTimestamp: RFC 3339 in UTC with as many digits as needed, at least whole seconds."""
    # The server sends UTC (the stream sets its time zone), so a change of two characters is enough; this is the hot path.
    if text.endswith(b"+00") and text[10:11] == b" " and len(text) <= 29:
        return text[:10] + b"T" + text[11:-3] + b"Z"
    return moment(text).isoformat().replace("+00:00", "Z").encode()


def _days(text: bytes) -> bytes:
    return b"%d" % (date.fromisoformat(text.decode("ascii")) - _EPOCH.date()).days


def _microseconds_of_day(text: bytes) -> bytes:
    found = datetime.fromisoformat(f"1970-01-01T{text.decode('ascii')}").replace(tzinfo=UTC)
    return b"%d" % ((found - _EPOCH) // _MICROSECOND)


# Other types (numbers, text, uuid, json, jsonb) are sent as PostgreSQL writes them.
_HEADER_BY_TYPE: dict[int, Convert] = {
    BOOL: _boolean,
    BYTEA: lambda text: base64.b64encode(raw_bytes(text)),
    TIMESTAMP: _microseconds,
    TIMESTAMPTZ: _zoned,
    DATE: _days,
    TIME: _microseconds_of_day,
}
_KEY_BY_TYPE: dict[int, Convert] = {
    **_HEADER_BY_TYPE,
    BYTEA: raw_bytes,
}


def header_converter(type_oid: int) -> Convert | None:
    """How a column of this type becomes a header; None: as it is. The converter raises ValueError."""
    return _HEADER_BY_TYPE.get(type_oid)


def key_converter(type_oid: int) -> Convert | None:
    """How a column of this type becomes a key; None: as it is. The converter raises ValueError."""
    return _KEY_BY_TYPE.get(type_oid)


def payload_converter(type_oid: int) -> Convert | None:
    """How a column of this type becomes a value: bytea unchanged, everything else as PostgreSQL writes it."""
    return raw_bytes if type_oid == BYTEA else None
