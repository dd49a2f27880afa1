"""The columns that the polling connector keeps in an outbox table: the SQL that adds them, and what is checked of them."""

from __future__ import annotations

import psycopg
import structlog
from psycopg import sql

from connectors.outbox.config import TableName, parse_table
from connectors.outbox.errors import TableUnfit
from connectors.outbox.polling.options import Polling

_log = structlog.get_logger()

_WHOLE_NUMBERS = ("int2", "int4", "int8")

_SQL = """-- Columns of the polling connector for {table}. Run it as the table's owner; it writes the table anew once.
-- The number is drawn by the insert itself, one at a time (cache 1): rows of an aggregate are published in its order.
create sequence {sequence};
alter table {table}
    add column {order} bigint not null default nextval({sequence_text}),
    add column {status} text not null default 'PENDING' check ({status} in ('PENDING', 'PUBLISHED', 'FAILED')),
    add column {reason} text,
    add column {letter} bytea;
alter sequence {sequence} owned by {table}.{order};
-- Rows that are there already would all be published. To leave them out:
-- update {table} set {status} = 'PUBLISHED';
create index on {table} ({order}) where {status} = 'PENDING';
create index on {table} ({order}) where {status} = 'FAILED';
"""
# Of the sequence that fills a column, owned by it (serial, identity) or only named in its default.
_CACHES = """
select s.seqcache from pg_depend d join pg_sequence s on s.seqrelid = d.objid
where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
  and d.refobjid = %(table)s::regclass and d.refobjsubid = %(number)s
union
select s.seqcache from pg_attrdef a join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = a.oid
join pg_sequence s on d.refclassid = 'pg_class'::regclass and s.seqrelid = d.refobjid
where a.adrelid = %(table)s::regclass and a.adnum = %(number)s
"""
_COLUMNS = """
select a.attname::text, a.attnum, t.typname::text, a.attnotnull from pg_attribute a join pg_type t on t.oid = a.atttypid
where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped
"""
_INDEXES = "select 1 from pg_index where indrelid = %s::regclass and indkey[0] = %s and indisvalid"


def polling_sql(table: str, polling: Polling) -> str:
    """Adds the columns and their indexes to `table`, whose name may have a schema and quotes."""
    name = parse_table(table)
    sequence = _identifier(name[0], f"{name[1]}_{polling.order_column}_seq")
    return _SQL.format(
        table=_identifier(*name),
        sequence=sequence,
        sequence_text="'" + sequence.replace("'", "''") + "'",
        order=_identifier(polling.order_column),
        status=_identifier(polling.status_column),
        reason=_identifier(polling.reason_column),
        letter=_identifier(polling.letter_column),
    )


def check_columns(connection: psycopg.Connection, table: TableName, polling: Polling) -> None:
    """Raises TableUnfit for a column that is missing or that cannot keep an order."""
    quoted, name = sql.Identifier(*table).as_string(connection), ".".join(table)
    found = {column: facts for column, *facts in connection.execute(_COLUMNS, (quoted,)).fetchall()}
    wanted = (polling.order_column, polling.status_column, polling.reason_column, polling.letter_column)
    if missing := [column for column in wanted if column not in found]:
        raise TableUnfit(
            f"table {name} has no column {', '.join(missing)}, which polling needs; "
            f"tally connector --table {name} --polling --print-polling-sql prints what adds them"
        )
    number, kind, _ = found[polling.order_column]
    if kind not in _WHOLE_NUMBERS:
        raise TableUnfit(f"column {polling.order_column} of table {name} is {kind}, not a whole number of a sequence")
    for column in (polling.order_column, polling.status_column):
        if not found[column][2]:
            raise TableUnfit(f"column {column} of table {name} may be null: such a row would never be published")
    for (cache,) in connection.execute(_CACHES, {"table": quoted, "number": number}).fetchall():
        if cache > 1:
            raise TableUnfit(
                f"the sequence of column {polling.order_column} of table {name} has cache {cache}, so that sessions draw "
                f"blocks and a later row can have a smaller number: alter sequence … cache 1"
            )
    if connection.execute(_INDEXES, (quoted, number)).fetchone() is None:
        _log.warning("no index begins with the order column: each look reads the whole table", table=name)


def _identifier(*names: str) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)
