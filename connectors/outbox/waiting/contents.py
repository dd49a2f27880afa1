"""Gets unpublished rows back: as the table has them now, so that a row can be mended there, else as they came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import psycopg
from psycopg import sql

from connectors.outbox.config import OutboxConfig
from connectors.outbox.database import connect
from connectors.outbox.pgoutput import Column, Values
from connectors.outbox.waiting.entries import Content, Entry
from connectors.outbox.waiting.topic import read_waiting

_NULL_ID = "(null)"


def contents(config: OutboxConfig, entries: Sequence[Entry]) -> dict[bytes, Content]:
    """By the entries' keys; one that is missing is neither in the table nor, for its size, in Kafka.

    Raises psycopg.OperationalError, ProducerLost.
    """
    in_table = _in_table(config, {entry.row_id for entry in entries} - {_NULL_ID})
    found = {entry.key: in_table[entry.row_id] for entry in entries if entry.row_id in in_table}
    missing = [entry.key for entry in entries if entry.key not in found]
    return found | read_waiting(config, missing).contents if missing else found


def _in_table(config: OutboxConfig, ids: set[str]) -> dict[str, Content]:
    """By id, but for ids that more than one row has."""
    if not ids or not config.tables:
        return {}
    try:
        return _rows_by_id(config, ids)
    except psycopg.errors.InvalidTextRepresentation:
        # An id that the column's type has no value for is of a logical message.
        if len(ids) == 1:
            return {}
    return {id_: content for one in ids for id_, content in _in_table(config, {one}).items()}


def _rows_by_id(config: OutboxConfig, ids: set[str]) -> dict[str, Content]:
    id_field = config.routing.id_field
    # Untyped literals take the column's type, whatever it is, so its index is used.
    query = sql.SQL("select * from {} where {} in ({})").format(
        sql.Identifier(*config.schema_and_table),
        sql.Identifier(id_field),
        sql.SQL(", ").join(map(sql.Literal, sorted(ids))),
    )
    with connect(config) as connection:
        result = connection.execute(query).pgresult
    if result is None:
        return {}
    columns = [
        Column((result.fname(at) or b"").decode(), result.ftype(at), result.fmod(at)) for at in range(result.nfields)
    ]
    at_id = next(index for index, column in enumerate(columns) if column.name == id_field)
    rows: list[Values] = [[result.get_value(row, at) for at in range(result.nfields)] for row in range(result.ntuples)]
    id_of = [(values[at_id] or b"").decode(errors="replace") for values in rows]
    count = Counter(id_of)
    return {row_id: Content(columns, values) for row_id, values in zip(id_of, rows, strict=True) if count[row_id] == 1}
