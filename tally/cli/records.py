"""Records of topics as people see them: decoded where they can be, shown with the reason where they cannot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from schemas.codec import Codec
from schemas.envelope import body_to_json, to_rfc3339
from schemas.errors import Undecodable
from schemas.records import decode_record
from schemas.topics import TOPICS
from tally.cli.failures import WrongUsage
from tally.cli.printing import to_line
from tally.reading.reader import Record

COLUMNS = ("timestamp", "topic", "partition", "offset", "key", "type", "version", "data")
# Of a value that cannot be read, this much is shown.
_RAW_BYTES = 120


def to_row(record: Record, codec: Codec) -> dict[str, Any]:
    """`{topic, partition, offset, timestamp, key, headers, id, type, aggregateId, version, data}`.

    A record that cannot be decoded has `data` null, and `undecodable` with the reason and `raw` with its first bytes.
    """
    row: dict[str, Any] = {
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
        "data": None,
    }
    try:
        message = decode_record(record.headers, record.value, codec)
        row["data"] = body_to_json(message.body)
    except Undecodable as error:
        row["undecodable"] = error.reason
        row["raw"] = text(record.value[:_RAW_BYTES]) if record.value is not None else None
        # A topic that holds something else than our messages (a changelog, a connector's position) is JSON.
        if _holds_json(record.topic):
            row |= {"data": text(record.value)}
            del row["undecodable"], row["raw"]
    return row


def for_table(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what a person looks for first in `data`."""
    if "undecodable" in row:
        return {**row, "data": f"UNDECODABLE: {row['undecodable']} [{row['raw']}]"}
    return {**row, "data": row["data"] if isinstance(row["data"], str) else to_line(row["data"] or {})}


def header(record: Record, name: str) -> str | None:
    """The text of a header; None where there is none."""
    for found, value in record.headers:
        if found == name:
            return text(value)
    return None


def text(value: bytes | str | None) -> str | None:
    """Bytes as UTF-8 text, other bytes as \\x escapes."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


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


def _holds_json(topic: str) -> bool:
    known = TOPICS.get(topic)
    return known is not None and (topic.endswith("-changelog") or topic.startswith("connect-"))


def _number(value: str | None) -> int | None:
    return int(value) if value is not None and value.isdigit() else None
