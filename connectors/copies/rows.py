"""Changelog records as rows to copy."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from connectors.consuming import Record
from schemas.errors import Undecodable


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a version of a table; `value` None: deleted. `version` is the row's own, as text; "" where it has none."""

    table: str
    table_version: int
    key: bytes
    value: bytes | None
    version: str
    partition: int
    offset: int


def row_of(table: str, table_version: int, record: Record) -> Row:
    """The row that a changelog record sets or deletes. Raises Undecodable."""
    if record.key is None:
        raise Undecodable("a changelog record without a key")
    version = ""
    if record.value is not None:
        try:
            row = orjson.loads(record.value)
        except orjson.JSONDecodeError as error:
            raise Undecodable(f"the row is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise Undecodable("the row is no JSON object")
        version = str(row.get("version", ""))
    return Row(table, table_version, record.key, record.value, version, record.partition, record.offset)
