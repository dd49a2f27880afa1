"""What every service's database holds, as SQL: heads, outbox, command ids, the sinks' positions; and who may do what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from producers.store.connections import SESSION_LIMITS
from schemas.outbox import PLACEMENT


@dataclass(frozen=True, slots=True)
class Roles:
    """Who may use a service's database: the service itself and its outbox connector; None where there is no such role."""

    service: str | None
    connector: str | None


TABLES = """
create table heads (
    aggregatetype text not null,
    aggregateid text not null,
    version int not null check (version > 0),
    snapshot jsonb not null,
    snapshot_version int not null,
    recorded_at timestamptz not null,
    primary key (aggregatetype, aggregateid)
) with (fillfactor = 80);
comment on table heads is 'one row per aggregate: its version and its state there';

create table outbox (
    id uuid primary key,
    topic text not null,
    aggregatetype text not null,
    aggregateid text not null,
    type text not null,
    payload bytea,
    version bigint,
    created_at timestamptz not null default clock_timestamp(),
    specversion text not null default '1.0',
    source text not null default '',
    correlationid text,
    causationid text,
    traceparent text,
    headers jsonb,
    unique (aggregatetype, aggregateid, version)
);
comment on table outbox is 'rows to be carried to Kafka, written in the transaction that changed the data';

create function outbox_topic() returns trigger language plpgsql as $$
begin
    -- A trigger, not a generated column: pgoutput publishes no generated columns before PostgreSQL 18.
    new.topic := new.aggregatetype || '.events';
    return new;
end $$;
create trigger outbox_topic before insert on outbox
    for each row when (new.topic is null) execute function outbox_topic();

create table commands (
    id uuid primary key,
    scope text not null,
    body_hash text not null,
    state text not null check (state in ('RUNNING', 'DONE')),
    answer jsonb,
    recorded_at timestamptz not null default clock_timestamp(),
    check ((state = 'DONE') = (answer is not null))
);
comment on table commands is 'command ids with their answers; a row lives longer than the horizon of 30 days';

create table sink_positions (
    topic text not null,
    partition int not null,
    next_offset bigint not null,
    primary key (topic, partition)
);
comment on table sink_positions is 'where the command sink goes on, moved in the transaction of the effects';

create table parked_commands (
    topic text not null,
    partition int not null,
    record_offset bigint not null,
    key bytea,
    value bytea,
    header_names text[] not null,
    header_values bytea[] not null,
    reason text not null,
    attempts int not null default 0,
    parked_at timestamptz not null default clock_timestamp(),
    retry_at timestamptz not null default clock_timestamp(),
    primary key (topic, partition, record_offset)
);
comment on table parked_commands is 'commands whose key is busy, and the later ones of the same key behind them';
"""

# Commands that the service cannot have wait in the same table, and those that depend on them behind them.
DEAD_LETTERS = """
alter table parked_commands
    add column dead boolean not null default false,
    add column alone boolean not null default false,
    add column letter text,
    add column tries int not null default 0,
    add column history text not null default '';
comment on column parked_commands.dead is 'set aside: not tried again before somebody asks for it';
comment on column parked_commands.alone is 'nothing waits behind it';
comment on column parked_commands.letter is 'key of its dead letter, if it has one';
"""

# What the service may do, by table. Nothing is ever deleted but a parked command once it is worked and, by the
# connector, an outbox row once it is published and old; it never changes.
SERVICE_MAY = {
    "heads": ("select", "insert", "update"),
    "outbox": ("select", "insert"),
    "commands": ("select", "insert", "update"),
    "sink_positions": ("select", "insert", "update"),
    "parked_commands": ("select", "insert", "update", "delete"),
}
CONNECTOR_MAY = {"outbox": ("select",)}
CONNECTOR_MAY_CLEAN = {"outbox": ("delete",)}
# Since when the outbox is whole: for the audit.
SERVICE_MAY_SEE_CLEANING = {"outbox_progress": ("select",)}
# The view over the outbox, and what it is derived from (`schemas.outbox_status`).
SERVICE_MAY_SEE = {"outbox_status": ("select",)}
CONNECTOR_MAY_SAY = {
    "outbox_progress": ("select", "insert", "update"),
    "outbox_unpublished": ("select", "insert", "delete"),
    "outbox_status": ("select",),
}


# The first revisions had neither the column nor the right.
CLEANING = "alter table outbox_progress add column if not exists cleaned_before timestamptz"


def publication_of(service: str) -> str:
    """Name of the publication that the outbox connector of a service follows."""
    return f"tally_{service}_outbox"


def publication(service: str) -> sql.Composed:
    """The publication of the outbox: inserts only, for nothing else ever happens to a row.

    Its comment tells the placement of the columns in a record, for whoever configures Debezium by hand.
    """
    name = sql.Identifier(publication_of(service))
    return sql.SQL(
        "create publication {name} for table outbox with (publish = 'insert'); comment on publication {name} is {placement}"
    ).format(name=name, placement=sql.Literal(PLACEMENT))


def grants(role: str, may: Mapping[str, tuple[str, ...]]) -> sql.Composed:
    """Lets `role` do what `may` says and nothing else."""
    statements = [
        sql.SQL("grant {} on {} to {};").format(
            sql.SQL(", ").join(map(sql.SQL, acts)), sql.Identifier(table), sql.Identifier(role)
        )
        for table, acts in may.items()
    ]
    return sql.SQL(" ").join([sql.SQL("grant usage on schema public to {};").format(sql.Identifier(role)), *statements])


def limits(role: str, database: str) -> sql.Composed:
    """Time-outs for every session of `role` in `database`, should it connect without ours."""
    settings = [
        sql.SQL("alter role {} in database {} set {} = {};").format(
            sql.Identifier(role), sql.Identifier(database), sql.Identifier(name), sql.Literal(f"{value_ms}ms")
        )
        for name, value_ms in SESSION_LIMITS.items()
    ]
    return sql.SQL(" ").join(settings)
