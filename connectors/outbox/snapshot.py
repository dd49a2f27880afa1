"""The rows that are in the table when the slot is made: sent once, in the batch that stores the first position."""

from __future__ import annotations

from collections.abc import Callable

from psycopg import sql

from connectors.outbox.config import OutboxConfig, TableName
from connectors.outbox.database import connect
from connectors.outbox.outboxes import Outboxes
from connectors.outbox.query_rows import rows_of
from connectors.outbox.routing import Route
from connectors.outbox.sender import Sender


def send_snapshot(
    config: OutboxConfig, name: str, sender: Sender, outboxes: Outboxes, after_each_fetch: Callable[[], None]
) -> int:
    """Sends every row that the exported snapshot `name` shows, table by table; gives their number. The batch must be open."""
    with connect(config) as connection:
        connection.execute("begin isolation level repeatable read read only")
        connection.execute(sql.SQL("set transaction snapshot {}").format(sql.Literal(name)))
        sent = 0
        for table in config.tables:
            route: Route | None = None
            for columns, rows in rows_of(connection, _query(config, table)):
                route = route or outboxes.route_of_query(table, columns)
                for values in rows:
                    # No transaction of the log begins at 0, so these places are their own.
                    sender.send(route, values, sum(len(value or b"") + 5 for value in values), (0, sent))
                    sent += 1
                after_each_fetch()
        return sent


def _query(config: OutboxConfig, table: TableName) -> sql.Composed:
    query = sql.SQL("select * from {}").format(sql.Identifier(*table))
    if config.snapshot_order:
        query += sql.SQL(" order by ") + sql.SQL(", ").join(map(sql.Identifier, config.snapshot_order))
    return query
