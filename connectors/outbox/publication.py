"""The publication: made if it is missing, else checked to cover every outbox table whole."""

from __future__ import annotations

from typing import LiteralString

import psycopg
import structlog
from psycopg import sql

from connectors.outbox.config import OutboxConfig, TableName
from connectors.outbox.errors import PublicationMissing, PublicationNarrow, first_line
from connectors.outbox.outboxes import Outboxes, OutboxTable

_log = structlog.get_logger()

_COLUMN_LISTS_SINCE = 150000


def ensure_publication(connection: psycopg.Connection, config: OutboxConfig, outboxes: Outboxes) -> None:
    """Makes the publication if it is missing, else checks that it covers the tables. Raises StartRefused."""
    found = connection.execute(
        "select pubinsert, pubupdate, pubviaroot from pg_publication where pubname = %s", (config.publication,)
    ).fetchone()
    if found is None:
        _make(connection, config, outboxes)
        return
    inserts, updates, via_root = found
    _check_operations(config, inserts, updates)
    for table in outboxes.tables.values():
        _check_table(connection, config, table, via_root)


def wanted_columns(config: OutboxConfig, table: OutboxTable) -> list[str]:
    """Columns that the rules read, in the table's order."""
    return [column.name for column in table.columns if column.name in config.routing.columns()]


def _make(connection: psycopg.Connection, config: OutboxConfig, outboxes: Outboxes) -> None:
    statement = sql.SQL("create ") + _statement(connection, config, outboxes)
    if not config.create_publication:
        raise PublicationMissing(config.publication, statement.as_string(connection), "the options forbid it")
    try:
        connection.execute(statement)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType) as error:
        raise PublicationMissing(config.publication, statement.as_string(connection), first_line(error)) from None
    _log.info("publication made", publication=config.publication, tables=[".".join(name) for name in outboxes.tables])


def _statement(connection: psycopg.Connection, config: OutboxConfig, outboxes: Outboxes) -> sql.Composed:
    """All but the verb. Column lists keep what is not routed off the wire; updates need the key columns, hence none then."""
    fatal = config.routing.invalid_operation == "fatal"
    with_columns = connection.info.server_version >= _COLUMN_LISTS_SINCE and not fatal
    parts = []
    for table in outboxes.tables.values():
        listed: sql.Composable = sql.SQL("")
        if with_columns:
            listed = sql.SQL(" ({})").format(sql.SQL(", ").join(map(sql.Identifier, wanted_columns(config, table))))
        parts.append(sql.SQL("{}{}").format(sql.Identifier(*table.name), listed))
    # Logical messages come with any publication, also one of no table.
    tables = sql.SQL("for table ") + sql.SQL(", ").join(parts) if parts else sql.SQL("")
    return sql.SQL("publication {} {} with (publish = {}, publish_via_partition_root = true)").format(
        sql.Identifier(config.publication),
        tables,
        sql.Literal("insert, update" if fatal else "insert"),
    )


def _check_operations(config: OutboxConfig, inserts: bool, updates: bool) -> None:
    name = config.publication
    if not inserts:
        raise PublicationNarrow(name, "does not publish inserts", f"alter publication {name} set (publish = 'insert')")
    if config.routing.invalid_operation == "fatal" and not updates:
        raise PublicationNarrow(
            name,
            "does not publish updates, which are to be fatal",
            f"alter publication {name} set (publish = 'insert, update')",
        )


def _check_table(connection: psycopg.Connection, config: OutboxConfig, table: OutboxTable, via_root: bool) -> None:
    """A partitioned table is published by its root, or by all its partitions, whose rows are taken for the root's."""
    by_partition = table.partitions is not None and not via_root
    for name in table.partitions or () if by_partition else (table.name,):
        _check_relation(connection, config, name, wanted_columns(config, table))


def _check_relation(connection: psycopg.Connection, config: OutboxConfig, name: TableName, wanted: list[str]) -> None:
    publication, table = config.publication, sql.Identifier(*name).as_string(connection)
    newer = connection.info.server_version >= _COLUMN_LISTS_SINCE
    rest: LiteralString = "attnames::text[], rowfilter" if newer else "null, null"
    covered = connection.execute(
        "select " + rest + " from pg_publication_tables where pubname = %s and schemaname = %s and tablename = %s",
        (publication, *name),
    ).fetchone()
    if covered is None:
        raise PublicationNarrow(
            publication, f"does not cover {table}", f"alter publication {publication} add table {table}"
        )
    columns, row_filter = covered
    if row_filter is not None:
        raise PublicationNarrow(
            publication,
            f"has a row filter ({row_filter}): rows would be missed",
            f"alter publication {publication} set table {table}",
        )
    missing = [column for column in wanted if columns is not None and column not in columns]
    if missing:
        raise PublicationNarrow(
            publication,
            f"lacks the columns {', '.join(missing)}",
            f"alter publication {publication} set table {table} ({', '.join(wanted)})",
        )
