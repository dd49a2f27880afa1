"""Confirmations of orders that are paid from a wallet."""

from __future__ import annotations

from alembic import op

from producers.store.migrating import execute, grant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLE = """
create table wallet_orders (
    id uuid primary key,
    seq bigint generated always as identity,
    order_id text not null,
    command jsonb not null,
    state text not null default 'OPEN' check (state in ('OPEN', 'DONE')),
    noted_at timestamptz not null default clock_timestamp()
);
comment on table wallet_orders is 'one row per confirmation that debits a wallet; closed by the commit that does both';
create index wallet_orders_open on wallet_orders (seq) where state = 'OPEN';
"""


def upgrade() -> None:
    """The table, and the service's right to insert and close rows."""
    context = op.get_context()
    execute(context, TABLE)
    grant(context, {"wallet_orders": ("select", "insert", "update")}, {})
