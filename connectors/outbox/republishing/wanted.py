"""The rows of one table that are asked for, in groups: the rows of one aggregate, or one row that has no key.

A group is sent as a whole and between two batches of the stream, so that no row of the stream comes between its rows.
An index over the type and the key of the aggregate makes each piece cheap; without one each piece reads the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from connectors.outbox.beside.horizon import Horizon
from connectors.outbox.config import OutboxConfig
from connectors.outbox.outboxes import OutboxTable
from connectors.outbox.republishing.asked import Bounds, Progress
from connectors.outbox.values import TIMESTAMP, TIMESTAMPTZ

# Groups that one question asks for; of what the piece has no room for, the next piece asks again.
GROUPS_MAX = 500
_KIND_FIELD, _TIME_FIELD = "aggregatetype", "created_at"
_TEXTS = (25, 1042, 1043)


class Unanswerable(Exception):
    """Bounds that this table has no column for; the message is one line for people."""


@dataclass(frozen=True, slots=True)
class Group:
    """`at`: its columns' texts; `is_published`: all its rows are known to be."""

    at: tuple[str, ...]
    rows: int
    is_published: bool


class Wanted:
    """Queries for one table. Raises Unanswerable."""

    def __init__(self, config: OutboxConfig, table: OutboxTable, bounds: Bounds, keyless: bool) -> None:
        self._config, self._bounds = config, bounds
        self._table = sql.Identifier(*table.name)
        self._types = {column.name: column.type_oid for column in table.columns}
        rules = config.routing
        self._kind = _KIND_FIELD if _KIND_FIELD in self._types else rules.route_by_field
        self._has_key = rules.key_field in self._types
        columns = (rules.id_field,) if keyless else (self._kind, rules.key_field)
        self._columns = [sql.SQL("o.") + sql.Identifier(name) for name in columns]
        self._rows = self._condition(keyless)

    def count(self, connection: psycopg.Connection) -> int:
        """How many rows there are, groups of either kind together."""
        query = sql.SQL("select count(*) from {} o where {}").format(self._table, self._within())
        found = connection.execute(query).fetchone()
        return 0 if found is None else int(found[0])

    def groups(self, connection: psycopg.Connection, after: Progress, horizon: Horizon) -> list[Group]:
        """The next groups in order. Raises psycopg.Error."""
        condition = self._rows if after.after is None else self._rows + self._compared(" and {} > {}", after.after)
        query = sql.SQL(
            "select {texts}, count(*), bool_and({published}) from {table} o where {condition} "
            "group by {columns} order by {columns} limit {limit}"
        ).format(
            texts=sql.SQL(", ").join([column + sql.SQL("::text") for column in self._columns]),
            published=horizon.holds(),
            table=self._table,
            condition=condition,
            columns=sql.SQL(", ").join(self._columns),
            limit=sql.Literal(GROUPS_MAX),
        )
        return [Group(tuple(at), rows, is_published) for *at, rows, is_published in connection.execute(query)]

    def rows(self, first: Group, last: Group) -> sql.Composed:
        """The query for all rows of the groups from the first to the last, group by group, each in its order."""
        order = [*self._columns, *self._order(), sql.SQL("o.tableoid"), sql.SQL("o.ctid")]
        return sql.SQL("select o.* from {} o where {} order by {}").format(
            self._table,
            self._rows + self._compared(" and {} >= {}", first.at) + (self._compared(" and {} <= {}", last.at)),
            sql.SQL(", ").join(order),
        )

    def _compared(self, operator: str, at: tuple[str, ...]) -> sql.Composed:
        """Untyped literals take the columns' types, whatever they are, so an index is used."""
        columns = sql.SQL("({})").format(sql.SQL(", ").join(self._columns))
        values = sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, at)))
        return sql.SQL(operator).format(columns, values)

    def _condition(self, keyless: bool) -> sql.Composed:
        key = sql.Identifier(self._config.routing.key_field)
        if not self._has_key:
            return self._within() + sql.SQL("" if keyless else " and false")
        form = " and (o.{} is null or o.{} is null)" if keyless else " and o.{} is not null and o.{} is not null"
        return self._within() + sql.SQL(form).format(sql.Identifier(self._kind), key)

    def _within(self) -> sql.Composed:
        bounds, rules = self._bounds, self._config.routing
        conditions: list[sql.Composable] = [sql.SQL("true")]
        if bounds.ids:
            listed = sql.SQL(", ").join(map(sql.Literal, bounds.ids))
            conditions.append(sql.SQL("o.{} in ({})").format(sql.Identifier(rules.id_field), listed))
        if bounds.aggregate is not None:
            conditions.append(self._of_aggregate(bounds.aggregate))
        for operator, moment in ((" >= ", bounds.since), (" < ", bounds.until)):
            if moment is not None:
                column = sql.SQL("o.") + sql.Identifier(self._time_field())
                conditions.append(column + sql.SQL(operator) + sql.SQL("{}::timestamptz").format(sql.Literal(moment)))
        return sql.SQL(" and ").join(conditions)

    def _of_aggregate(self, aggregate: str) -> sql.Composed:
        if not self._has_key:
            raise Unanswerable(f"table {self._table.as_string()} has no column of keys")
        key = self._config.routing.key_field
        kind, slash, id_ = aggregate.partition("/")
        condition = self._equals(key, aggregate)
        if slash:
            condition = sql.SQL("({} or ({} and {}))").format(
                condition, self._equals(self._kind, kind), self._equals(key, id_)
            )
        return condition

    def _equals(self, name: str, text: str) -> sql.Composed:
        cast = "" if self._types[name] in _TEXTS else "::text"
        return sql.SQL("o.{}" + cast + " = {}").format(sql.Identifier(name), sql.Literal(text))

    def _time_field(self) -> str:
        cleaning, rules = self._config.cleaning, self._config.routing
        asked = self._bounds.time_field
        named = [None if cleaning is None else cleaning.age_field, rules.timestamp_field, _TIME_FIELD]
        for name in [asked] if asked is not None else named:
            if name is not None and self._types.get(name) in (TIMESTAMP, TIMESTAMPTZ):
                return name
        raise Unanswerable(f"table {self._table.as_string()} has no such column of type timestamp or timestamptz")

    def _order(self) -> Sequence[sql.Composed]:
        timestamp = self._config.routing.timestamp_field
        names = self._config.snapshot_order or (() if timestamp is None else (timestamp,))
        return [sql.SQL("o.") + sql.Identifier(name) for name in names]
