"""What a person asks of a table that is polled: which rows are not published and why, and that they be tried again.

The status column says it and takes the wish: a row that is PENDING again is found by whichever process looks next.
"""

from __future__ import annotations

import time

import psycopg
from psycopg import sql

from connectors.outbox.config import Routing, TableName
from connectors.outbox.polling.options import Polling
from connectors.outbox.waiting.entries import Aggregate, Entry, Request, State
from connectors.outbox.waiting.keeper import KIND_FIELD

# Of one table, in its order; a list for people.
ROWS_MAX = 10_000
_LOOK_AGAIN_S = 0.1
_TABLE_COLUMNS = "select attname::text from pg_attribute where attrelid = %s::regclass and attnum > 0"
_ROWS = """select {order}::bigint, {kind}, {key}, {id}::text, {status}, {reason} from {table} o
where {status} = 'FAILED' or {status} = 'PENDING' and {behind} order by {order} limit {rows_max}"""
_BEHIND = """exists (select 1 from {table} f where f.{status} = 'FAILED' and f.{key_column} = o.{key_column}
and f.{kind_column} is not distinct from o.{kind_column})"""
# The letter's key stays: whoever publishes the row takes its letter away.
_AGAIN = """update {table} set {status} = 'PENDING'
where {order} = any(%s::bigint[]) and {status} = 'FAILED'"""
_UNDER_WAY = "select 1 from {table} where {order} = any(%s::bigint[]) and {status} = 'PENDING' limit 1"


class AskedTable:
    """One polled table on an autocommit connection. Raises psycopg.Error, also for a table without the columns."""

    def __init__(
        self, connection: psycopg.Connection, name: TableName, polling: Polling, rules: Routing | None = None
    ) -> None:
        self._connection = connection
        rules = rules or Routing()
        quoted = sql.Identifier(*name).as_string(connection)
        columns = {column for (column,) in connection.execute(_TABLE_COLUMNS, (quoted,)).fetchall()}
        kind = KIND_FIELD if KIND_FIELD in columns else rules.route_by_field
        self._has_key = rules.key_field in columns
        self._words: dict[str, sql.Composable] = {
            "table": sql.Identifier(*name),
            "order": sql.Identifier(polling.order_column),
            "status": sql.Identifier(polling.status_column),
            "reason": sql.Identifier(polling.reason_column),
            "id": sql.Identifier(rules.id_field),
            "key_column": sql.Identifier(rules.key_field),
            "kind_column": sql.Identifier(kind),
            "rows_max": sql.Literal(ROWS_MAX),
        }

    def unpublished(self) -> list[Entry]:
        """Failed rows and those behind them, in order, at most ROWS_MAX; a place is the row's number and 0."""
        words = self._words
        row_key: sql.Composable = sql.SQL("null::text")
        kind, behind = row_key, sql.Composed([sql.SQL("false")])
        if self._has_key:
            row_key = sql.SQL("o.{}::text").format(words["key_column"])
            kind = sql.SQL("coalesce(o.{}::text, '')").format(words["kind_column"])
            behind = sql.SQL(_BEHIND).format(**words)
        query = sql.SQL(_ROWS).format(**words, kind=kind, key=row_key, behind=behind)
        found: list[Entry] = []
        first_by_aggregate: dict[Aggregate, str] = {}
        for number, row_kind, key, row_id, status, reason in self._connection.execute(query).fetchall():
            aggregate = Aggregate(None, row_id) if key is None else Aggregate(row_kind, key)
            state = State.FAILED if status == State.FAILED else State.WAITING
            if state is State.FAILED:
                first_by_aggregate.setdefault(aggregate, row_id)
            else:
                reason = f"waits behind row {first_by_aggregate.get(aggregate, '(not listed)')}"
            found.append(Entry((number, 0), aggregate, row_id, state, reason or ""))
        return found

    def redrive(self, request: Request, within_s: float) -> list[Entry] | None:
        """Has the failed rows of the aggregates meant tried again; gives what is left of them, [] if all are published.

        None if nothing is meant. Raises TimeoutError while no process takes them.
        """
        known = self.unpublished()
        meant = {entry.aggregate for entry in known if request.wants(entry)}
        if not meant:
            return None
        numbers = [entry.place[0] for entry in known if entry.aggregate in meant]
        self._connection.execute(sql.SQL(_AGAIN).format(**self._words), (numbers,))
        self._until_tried(numbers, time.monotonic() + within_s)
        return [entry for entry in self.unpublished() if entry.aggregate in meant]

    def _until_tried(self, numbers: list[int], deadline: float) -> None:
        """Until each is published, failed again or behind one that did."""
        query = sql.SQL(_UNDER_WAY).format(**self._words)
        while True:
            settled = {entry.place[0] for entry in self.unpublished()}
            rest = [number for number in numbers if number not in settled]
            if self._connection.execute(query, (rest,)).fetchone() is None:
                return
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(_LOOK_AGAIN_S)
