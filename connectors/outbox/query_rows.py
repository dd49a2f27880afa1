"""Rows of a query as the stream gives rows: columns with their types, values as PostgreSQL's texts; a part at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
from psycopg import sql

from connectors.outbox.errors import DatabaseLost
from connectors.outbox.pgoutput import Column, Values

FETCH_ROWS = 2_000


def rows_of(connection: psycopg.Connection, query: sql.Composed) -> Iterator[tuple[Sequence[Column], list[Values]]]:
    """Parts of at most FETCH_ROWS rows, each with the columns; inside a transaction. Raises psycopg.Error, DatabaseLost."""
    connection.execute(sql.SQL("declare outbox_rows no scroll cursor for ") + query)
    columns: list[Column] = []
    while True:
        result = connection.execute(sql.SQL("fetch {} from outbox_rows").format(sql.SQL(str(FETCH_ROWS)))).pgresult
        if result is None:
            raise DatabaseLost("a fetch without a result")
        if result.ntuples == 0:
            break
        width = result.nfields
        columns = columns or [
            Column((result.fname(at) or b"").decode(), result.ftype(at), result.fmod(at)) for at in range(width)
        ]
        yield columns, [[result.get_value(row, at) for at in range(width)] for row in range(result.ntuples)]
    connection.execute("close outbox_rows")
