"""The SQL of polling one table, composed once for its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import DatabaseLost
from connectors.outbox.outboxes import OutboxTable
from connectors.outbox.polling.options import Polling
from connectors.outbox.waiting.keeper import KIND_FIELD

# More than processes there will be, so that each gets about as many; few enough that all locks fit into the server's table.
BUCKETS = 64
# In the locks' second number, behind the buckets: "this session polls", so that its own writing is not waited for.
_POLLS = BUCKETS
# Counting goes no further: the figure is for an alarm.
COUNTED_MAX = 100_000

_LOOK = """
with locks as materialized (
    select * from pg_locks where database = (select oid from pg_database where datname = current_database()) and granted
), polling as (
    select distinct pid from locks where locktype = 'advisory' and objsubid = 2 and classid = {table_class} and objid = {polls}
)
select
    (select max({order}) from {table} where {status} = 'PENDING' and {order} > %(above)s),
    array(select distinct virtualtransaction from locks where locktype = 'relation' and relation in ({relations})
        and mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
        and (pid is null or pid not in (select pid from polling))),
    array(select distinct objid::int from locks where locktype = 'advisory' and objsubid = 2 and classid = {seat_class})
"""
_LOCK = (
    "select bucket from unnest(%s::int[]) bucket where pg_try_advisory_xact_lock({table_key}, bucket) order by bucket"
)
_FAILED = """select coalesce({kind}::text, ''), {key}::text, min({order})::bigint from {table}
where {status} = 'FAILED' and {key} is not null group by 1, 2"""
_CLAIM = """
select {columns}, tally_bytes from (
    select {columns}, sum({size}) over (order by {order} rows unbounded preceding) as tally_bytes from {table}
    where {status} = 'PENDING' and {order} > %(above)s and {order} <= %(settled)s {more}
    order by {order} limit {rows_max}
) claimed
where tally_bytes - {size} < {bytes_max} order by {order}
"""
_IN_BUCKETS = "and hashtext({bucketed}) & {mask} = any(%(buckets)s)"
_NOT_BEHIND_FAILED = """ and ({key} is null or (coalesce({kind}::text, ''), {key}::text)
not in (select * from unnest(%(kinds)s::text[], %(keys)s::text[])))"""
_PUBLISH = """
with done as (
    update {table} set {status} = 'PUBLISHED', {reason} = null, {letter} = null
    where {order} = any(%s::bigint[]) and {status} = 'PENDING' returning 1
)
select count(*), txid_current() from done
"""
_FAIL = """update {table} set {status} = 'FAILED', {reason} = %s, {letter} = %s
where {order} = %s and {status} = 'PENDING'"""
_KEYS = "select {order}, {id}::text from {table} where {order} = any(%s::bigint[]) order by {order}"
_FIGURES = """
select
    (select count(*) from (select 1 from {table} where {status} = 'PENDING' limit {counted_max}) counted),
    {waiting},
    (select count(*) from (select 1 from {table} where {status} = 'FAILED' limit {counted_max}) counted),
    {oldest}
"""
_WAITING = """(select count(*) from (select 1 from {table} o where o.{status} = 'PENDING' and exists (
    select 1 from {table} f where f.{status} = 'FAILED' and f.{key} = o.{key}
    and f.{kind} is not distinct from o.{kind}) limit {counted_max}) counted)"""
_OLDEST = """(select (extract(epoch from {time}) * 1000000)::bigint from {table}
where {status} = 'PENDING' and isfinite({time}) order by {order} limit 1)"""
_KEYS_OF_LOCKS = (
    "select hashtext('tally-outbox-buckets/' || %s::regclass::oid::text), hashtext(%s), %s::regclass::oid::bigint"
)
_TIMESTAMPS = (1114, 1184)
_CREATED = "created_at"


def seat_lock(name: str) -> str:
    """What the first number of a seat's lock is the hash of, for the connector `name`."""
    return f"tally-outbox-seat/{name}"


@dataclass(frozen=True, slots=True)
class Statements:
    """Ready to be executed; `failed` is None where the table has no key and each row is an aggregate of its own.

    `time` is a column that says when a row was written, None if there is none.
    """

    announce: sql.Composed
    look: sql.Composed
    lock: sql.Composed
    failed: sql.Composed | None
    publish: sql.Composed
    fail: sql.Composed
    keys: sql.Composed
    figures: sql.Composed
    time: str | None
    _claim: dict[tuple[bool, bool], sql.Composed]

    def claim(self, every_bucket: bool, with_failed: bool) -> sql.Composed:
        """The query for rows, with the conditions that are needed."""
        return self._claim[every_bucket, with_failed]

    @classmethod
    def of(
        cls, connection: psycopg.Connection, config: OutboxConfig, polling: Polling, table: OutboxTable
    ) -> Statements:
        """Of a table in the database of the connection. Raises psycopg.Error."""
        words = _words(connection, config, polling, table)
        has_key, time = _has_key(config, table), _time_column(config, table)

        def composed(text: LiteralString, **more: sql.Composable) -> sql.Composed:
            return sql.SQL(text).format(**words, **more)

        figures = composed(
            _FIGURES,
            waiting=composed(_WAITING) if has_key else sql.SQL("0"),
            oldest=sql.SQL("null::bigint") if time is None else composed(_OLDEST, time=sql.Identifier(time)),
        )
        return cls(
            announce=composed("select pg_advisory_lock_shared({table_key}, {polls})"),
            look=composed(_LOOK),
            lock=composed(_LOCK),
            failed=composed(_FAILED) if has_key else None,
            publish=composed(_PUBLISH),
            fail=composed(_FAIL),
            keys=composed(_KEYS),
            figures=figures,
            time=time,
            _claim={
                (every, failed): composed(
                    _CLAIM,
                    more=composed(("" if every else _IN_BUCKETS) + (_NOT_BEHIND_FAILED if failed else "")),
                )
                for every in (False, True)
                for failed in (False, True)
            },
        )


def _words(
    connection: psycopg.Connection, config: OutboxConfig, polling: Polling, table: OutboxTable
) -> dict[str, sql.Composable]:
    """What stands in the braces of the texts above."""
    quoted = sql.Identifier(*table.name).as_string(connection)
    found = connection.execute(_KEYS_OF_LOCKS, (quoted, seat_lock(config.name), quoted)).fetchone()
    if found is None:
        raise DatabaseLost("no key of a lock")
    table_key, seat_key, oid = found
    rules, names = config.routing, [column.name for column in table.columns]
    kind = KIND_FIELD if KIND_FIELD in names else rules.route_by_field
    # What the rules do not read need not leave the server.
    read = {*rules.columns(), kind, _time_column(config, table), polling.order_column, polling.letter_column}
    relations = sql.SQL("{}::oid").format(sql.Literal(oid))
    if table.partitions is not None:
        relations = sql.SQL("select relid from pg_partition_tree({}::oid::regclass)").format(sql.Literal(oid))
    bucketed = sql.SQL("{}::text").format(sql.Identifier(rules.id_field))
    if _has_key(config, table):
        bucketed = sql.SQL("coalesce({}::text, {})").format(sql.Identifier(rules.key_field), bucketed)
    return {
        "table": sql.Identifier(*table.name),
        "order": sql.Identifier(polling.order_column),
        "status": sql.Identifier(polling.status_column),
        "reason": sql.Identifier(polling.reason_column),
        "letter": sql.Identifier(polling.letter_column),
        "id": sql.Identifier(rules.id_field),
        "key": sql.Identifier(rules.key_field),
        "kind": sql.Identifier(kind),
        "columns": sql.SQL(", ").join(sql.Identifier(name) for name in names if name in read),
        "size": sql.SQL("coalesce(pg_column_size({}), 0)").format(sql.Identifier(rules.payload_field)),
        "bucketed": bucketed,
        "mask": sql.Literal(BUCKETS - 1),
        "polls": sql.Literal(_POLLS),
        "relations": relations,
        "table_key": sql.Literal(table_key),
        # As the view of locks shows a negative number.
        "table_class": sql.Literal(table_key & 0xFFFFFFFF),
        "seat_class": sql.Literal(seat_key & 0xFFFFFFFF),
        "rows_max": sql.Literal(polling.rows_max),
        "bytes_max": sql.Literal(polling.bytes_max),
        "counted_max": sql.Literal(COUNTED_MAX),
    }


def _has_key(config: OutboxConfig, table: OutboxTable) -> bool:
    return any(column.name == config.routing.key_field for column in table.columns)


def _time_column(config: OutboxConfig, table: OutboxTable) -> str | None:
    """A column that says when a row was written, for its age."""
    kinds = {column.name: column.type_oid for column in table.columns}
    for name in (config.routing.timestamp_field, _CREATED):
        if name is not None and kinds.get(name) in _TIMESTAMPS:
            return name
    return None
