"""Records of topics as people see them: decoded where they can be, shown with the reason where they cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from schemas.codec import Codec
from schemas.envelope import body_to_json
from schemas.errors import Undecodable
from schemas.records import decode_record
from schemas.topics import TOPICS
from tally.cli.failures import WrongUsage
from tally.cli.printing import to_line
from tally.reading.reader import Record
from tally.reading.rows import row_of, text

COLUMNS = ("timestamp", "topic", "partition", "offset", "key", "type", "version", "data")
# Of a value that cannot be read, this much is shown.
_RAW_BYTES = 120


def to_row(record: Record, codec: Codec) -> dict[str, Any]:
    """`{topic, partition, offset, timestamp, key, headers, id, type, aggregateId, version, data}`.

    In a topic that is not ours `data` is whatever JSON is there. A record that cannot be decoded has `data` null, and `undecodable` with the reason and `raw` with its first bytes.
    """
    row = row_of(record)
    try:
        message = decode_record(record.headers, record.value, codec)
        row["data"] = body_to_json(message.body)
    except Undecodable as error:
        raw = text(record.value[:_RAW_BYTES]) if record.value is not None else None
        row |= _otherwise(record) or {"undecodable": error.reason, "raw": raw}
    return row


def for_table(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what a person looks for first in `data`."""
    if "undecodable" in row:
        return {**row, "data": f"UNDECODABLE: {row['undecodable']} [{row['raw']}]"}
    return {**row, "data": row["data"] if isinstance(row["data"], str) else to_line(row["data"] or {})}


def tokens(record: Record, row: dict[str, Any]) -> Callable[[str], str]:
    """kcat's tokens: %t topic, %p partition, %o offset, %k key, %s value, %h headers, %T epoch ms, %K %S sizes."""

    def token(name: str) -> str:
        match name:
            case "t":
                return record.topic
            case "p":
                return str(record.partition)
            case "o":
                return str(record.offset)
            case "k":
                return row["key"] or ""
            case "s":
                return to_line(row["data"]) if isinstance(row["data"], dict) else text(record.value) or ""
            case "h":
                return ",".join(f"{key}={value}" for key, value in row["headers"].items())
            case "T":
                return str(record.timestamp_ms)
            case "K":
                return str(-1 if record.key is None else len(record.key))
            case "S":
                return str(-1 if record.value is None else len(record.value))
            case _ if name in row:
                value = row[name]
                return to_line(value) if isinstance(value, dict) else str("" if value is None else value)
        raise WrongUsage(f"no token %{name}: there are %t %p %o %k %s %h %T %K %S, and %{{type}} and its like")

    return token


def _otherwise(record: Record) -> dict[str, Any] | None:
    """The data of a record of a topic that holds something else than our messages, if it is JSON (a changelog is)."""
    if record.topic in TOPICS and not record.topic.endswith("-changelog") and not record.topic.startswith("connect-"):
        return None
    try:
        return {"data": None if record.value is None else json.loads(record.value)}
    except ValueError:
        return None
