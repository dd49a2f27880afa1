"""The view `<outbox>_status`, which tells in SQL what became of a row, and the two tables that it is derived from.

A row is PUBLISHED when its transaction was over before the stored position and the connector keeps it for no other reason.
The connector writes `published_below`: every transaction id below it was over, and its commit record stored, so the view is
late by a moment or by the oldest transaction that is open, and never early. FAILED: Kafka refused the row. All else is
PENDING. Rows whose transaction is more than two thousand million transactions old show as PENDING.
"""

from __future__ import annotations

PROGRESS, UNPUBLISHED, STATUS = "progress", "unpublished", "status"

_STATUS = """create table {progress} (
    connector text primary key,
    position pg_lsn not null,
    published_below bigint not null,
    recorded_at timestamptz not null default clock_timestamp(),
    cleaned_before timestamptz
);
comment on table {progress} is 'how far the outbox is published; written by its connector';
comment on column {progress}.cleaned_before is 'published rows older than this may be cleaned up; null: none ever was';
create table {unpublished} (
    connector text not null,
    place text not null,
    id text not null,
    status text not null check (status in ('FAILED', 'PENDING')),
    reason text not null,
    primary key (connector, place)
);
comment on table {unpublished} is 'outbox rows that Kafka refused, and those that wait behind them; written by its connector';
create view {status} as
    select o.{id} as id,
        case when u.status is not null then u.status
            when ((o.xmin::text::bigint - p.published_below) & 4294967295) >= 2147483648 then 'PUBLISHED'
            else 'PENDING' end as status,
        u.reason
    from {table} o
    left join (select min(published_below) as published_below from {progress}) p on true
    left join {unpublished} u on u.id = o.{id}::text;
"""


def status_sql(table: str, id_field: str = "id") -> str:
    """Makes tables and view beside `table`; both names as SQL takes them, quoted where they must be."""
    names = {"table": table, "id": id_field}
    return _STATUS.format(**names, **{what: beside(table, what) for what in (PROGRESS, UNPUBLISHED, STATUS)})


def beside(table: str, what: str) -> str:
    """Name of a table or view beside the outbox: `outbox` -> `outbox_status`, `"Out"` -> `"Out_status"`."""
    return f'{table[:-1]}_{what}"' if table.endswith('"') else f"{table}_{what}"
