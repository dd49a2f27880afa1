"""The outbox tables as the database describes them, and which route a relation of the stream has."""

from __future__ import annotations

import re
from collections.abc import Sequence

import psycopg
from psycopg import sql

from connectors.outbox.config import OutboxConfig, TableName
from connectors.outbox.database import connect
from connectors.outbox.errors import BadOption, TableUnfit
from connectors.outbox.java_regex import java_pattern
from connectors.outbox.pgoutput import Column, Relation
from connectors.outbox.routing import Route

# A domain's columns have the type that it is made of, so its name is followed down to that.
_COLUMNS = """
with recursive known (number, name, declared, type, modifier, required) as (
    select attnum, attname::text, atttypid, atttypid, atttypmod, attnotnull
    from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped
  union all
    select k.number, k.name, k.declared, t.typbasetype, greatest(k.modifier, t.typtypmod), k.required or t.typnotnull
    from known k join pg_type t on t.oid = k.type where t.typtype = 'd'
)
select k.name, k.declared::int8, k.type::int8, k.modifier, k.required,
       array(select enumlabel::text from pg_enum e where e.enumtypid = k.type order by enumsortorder)
from known k join pg_type t on t.oid = k.type where t.typtype <> 'd' order by k.number
"""
_IS_PARTITIONED = "select relkind = 'p' from pg_class where oid = %s::regclass"
_PARTITIONS = """
select n.nspname::text, c.relname::text from pg_partition_tree(%s::regclass) p
join pg_class c on c.oid = p.relid join pg_namespace n on n.oid = c.relnamespace where p.isleaf and p.level > 0
"""
_ROOT = """
select n.nspname::text, c.relname::text from pg_partition_root(%s::oid) p
join pg_class c on c.oid = p join pg_namespace n on n.oid = c.relnamespace
"""
# A partition stands for the table that it is a part of.
_ALL_TABLES = """
select n.nspname::text, c.relname::text, rn.nspname::text, r.relname::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
join pg_class r on r.oid = coalesce(pg_partition_root(c.oid), c.oid) join pg_namespace rn on rn.oid = r.relnamespace
where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema') order by 1, 2
"""

# The stream stands still meanwhile.
_ANSWER_WITHIN_S = 10


class OutboxTable:
    """One table: its columns in order, each with the type that it is declared with, and its partitions if it has any.

    `partitions` None: it is an ordinary table.
    """

    def __init__(
        self, name: TableName, columns: Sequence[tuple[int, Column]], partitions: Sequence[TableName] | None = None
    ) -> None:
        self.name, self.partitions = name, partitions
        self.columns = [column for _, column in columns]
        self._declared = {column.name: (declared, column) for declared, column in columns}

    def understood(self, columns: Sequence[Column]) -> list[Column]:
        """Columns of the stream or of a query with what is looked up about them: domains, enumerations, not null."""
        found = []
        for column in columns:
            declared, known = self._declared.get(column.name, (0, column))
            # A column whose type was changed since then is taken as the stream says.
            found.append(known if column.type_oid in (declared, known.type_oid) else column)
        return found


class Outboxes:
    """All outbox tables of one connector."""

    def __init__(self, config: OutboxConfig, tables: Sequence[OutboxTable]) -> None:
        self._config = config
        self.tables = {table.name: table for table in tables}
        self._root_by_partition = {part: table.name for table in tables for part in table.partitions or ()}

    @classmethod
    def describe(cls, connection: psycopg.Connection, config: OutboxConfig) -> Outboxes:
        """As they are now. Raises TableUnfit for a table or a column that is missing."""
        tables = [_describe(connection, config, name) for name in config.tables]
        return cls(config, tables)

    def route(self, relation: Relation) -> Route | None:
        """The rules for rows of this relation, which may be a partition; None for a table that is no outbox."""
        name = (relation.schema, relation.name)
        table = self.tables.get(name) or self._of_partition(name, relation.oid)
        return None if table is None else self._route(table, relation.columns)

    def route_of_query(self, name: TableName, columns: Sequence[Column]) -> Route:
        """The rules for the rows of a query on one of the tables."""
        return self._route(self.tables[name], columns)

    def _route(self, table: OutboxTable, columns: Sequence[Column]) -> Route:
        return Route(self._config.routing, table.understood(columns), ".".join(table.name))

    def _of_partition(self, name: TableName, oid: int) -> OutboxTable | None:
        """The table that this is a partition of, for a publication that publishes partitions by their own names."""
        if all(table.partitions is None for table in self.tables.values()):
            return None
        root = self._root_by_partition.get(name)
        if root is None:
            # Perhaps made since the start; asked once for each relation of each stream.
            with connect(self._config, answer_within_s=_ANSWER_WITHIN_S) as connection:
                found = connection.execute(_ROOT, (oid,)).fetchone()
            root = None if found is None else (found[0], found[1])
        return None if root is None else self.tables.get(root)


def find_tables(source_url: str, entries: Sequence[str]) -> list[TableName]:
    """Tables whose schema.table one of the entries matches as a whole, in any case, as Debezium does. Raises BadOption."""
    patterns = [re.compile(java_pattern(entry).pattern, re.ASCII | re.IGNORECASE) for entry in entries]
    try:
        with psycopg.connect(source_url, connect_timeout=10) as connection:
            rows = connection.execute(_ALL_TABLES).fetchall()
    except psycopg.OperationalError as error:
        raise BadOption(f"table.include.list is to be looked up, but: {str(error).strip().splitlines()[0]}") from None
    matching = (
        (root_schema, root)
        for schema, name, root_schema, root in rows
        if any(pattern.fullmatch(f"{schema}.{name}") for pattern in patterns)
    )
    return list(dict.fromkeys(matching))


def _describe(connection: psycopg.Connection, config: OutboxConfig, name: TableName) -> OutboxTable:
    quoted = sql.Identifier(*name).as_string(connection)
    try:
        rows = connection.execute(_COLUMNS, (quoted,)).fetchall()
        partitions = _partitions(connection, quoted)
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise TableUnfit(f"there is no table {'.'.join(name)} (or no right to see it)") from None
    columns = [
        (declared, Column(column, oid, modifier, required, tuple(labels)))
        for column, declared, oid, modifier, required, labels in rows
    ]
    names = {column.name for _, column in columns}
    for column, needed in config.routing.columns().items():
        if needed and column not in names:
            raise TableUnfit(
                f"table {'.'.join(name)} has no column {column}, which the options name; it has {', '.join(sorted(names))}"
            )
    return OutboxTable(name, columns, partitions)


def _partitions(connection: psycopg.Connection, quoted: str) -> list[TableName] | None:
    kind = connection.execute(_IS_PARTITIONED, (quoted,)).fetchone()
    if kind is None or not kind[0]:
        return None
    return [(schema, name) for schema, name in connection.execute(_PARTITIONS, (quoted,)).fetchall()]
