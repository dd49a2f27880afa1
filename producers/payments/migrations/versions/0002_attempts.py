"""The attempts of payments: what is to be asked of the provider, and who does so now."""

from __future__ import annotations

from alembic import op

from producers.store.migrating import execute, grant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLE = """
create table attempts (
    id uuid primary key references commands (id),
    seq bigint generated always as identity,
    payment_id text not null,
    command_type text not null,
    command jsonb not null,
    state text not null default 'OPEN' check (state in ('OPEN', 'DONE')),
    tries int not null default 0,
    due_at timestamptz not null default clock_timestamp(),
    lease_owner text,
    lease_until timestamptz,
    last_error text,
    created_at timestamptz not null default clock_timestamp()
);
comment on table attempts is 'one row per command that needs the provider; done by one runner at a time, by lease';
create index attempts_open on attempts (payment_id, seq) where state = 'OPEN';
create index attempts_due on attempts (due_at) where state = 'OPEN';
"""


def upgrade() -> None:
    """The table, and the service's right to insert and change rows."""
    context = op.get_context()
    execute(context, TABLE)
    grant(context, {"attempts": ("select", "insert", "update")}, {})
