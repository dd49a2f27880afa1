"""Records as rows for people and scripts: `{topic, partition, offset, timestamp, key, headers, id, type, …}`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from schemas.envelope import to_rfc3339
from tally.reading.reader import Record

Row = dict[str, Any]


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
