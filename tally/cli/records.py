"""Records of topics as a terminal shows them: in tables, and by kcat's templates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tally.cli.failures import WrongUsage
from tally.cli.printing import to_line
from tally.reading.reader import Record
from tally.reading.rows import text

COLUMNS = ("timestamp", "topic", "partition", "offset", "key", "type", "version", "data")


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
