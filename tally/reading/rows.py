"""Records as rows for people and scripts: `{topic, partition, offset, timestamp, key, headers, id, type, …}`.

Decoded where they can be, shown with the reason where they cannot.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from schemas.codec import Codec
from schemas.envelope import body_to_json, to_rfc3339
from schemas.errors import Undecodable
from schemas.records import decode_record
from schemas.topics import TOPICS
from tally.reading.reader import Record

Row = dict[str, Any]

# Of a value that cannot be read, this much is shown.
_RAW_BYTES = 120


def row_of(record: Record, data: Any = None) -> Row:
    """`{topic, partition, offset, timestamp, key, headers, id, type, aggregateId, version, data}`."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": to_rfc3339(datetime.fromtimestamp(record.timestamp_ms / 1_000, UTC)),
        "key": text(record.key),
        "headers": {name: text(value) for name, value in record.headers},
        "id": header(record, "ce_id") or header(record, "id"),
        "type": header(record, "ce_type"),
        "aggregateId": header(record, "ce_subject"),
        "version": _number(header(record, "aggregateversion")),
        "data": data,
    }


def to_row(record: Record, codec: Codec) -> Row:
    """`{topic, partition, offset, timestamp, key, headers, id, type, aggregateId, version, data}`.

    In a topic that is not ours `data` is whatever JSON is there. A record that cannot be decoded has `data` null, and
    `undecodable` with the reason and `raw` with its first bytes.
    """
    row = row_of(record)
    try:
        message = decode_record(record.headers, record.value, codec)
        row["data"] = body_to_json(message.body)
    except Undecodable as error:
        raw = text(record.value[:_RAW_BYTES]) if record.value is not None else None
        row |= _otherwise(record) or {"undecodable": error.reason, "raw": raw}
    return row


def header(record: Record, name: str) -> str | None:
    """The text of a header; None where there is none."""
    for found, value in record.headers:
        if found == name:
            return text(value)
    return None


def text(value: bytes | str | None) -> str | None:
    """Bytes as UTF-8 text, other bytes as \\x escapes."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def _number(value: str | None) -> int | None:
    return int(value) if value is not None and value.isdigit() else None


def _otherwise(record: Record) -> Row | None:
    """The data of a record of a topic that holds something else than our messages, if it is JSON (a changelog is)."""
    if record.topic in TOPICS and not record.topic.endswith("-changelog") and not record.topic.startswith("connect-"):
        return None
    try:
        return {"data": None if record.value is None else json.loads(record.value)}
    except ValueError:
        return None
