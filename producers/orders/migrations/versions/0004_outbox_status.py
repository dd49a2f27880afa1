"""The view outbox_status of orders, and the tables that the connector writes for it."""

from __future__ import annotations

from alembic import op

from producers.store.migrating import create_outbox_status

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """See `schemas.outbox_status`."""
    create_outbox_status(op.get_context())
