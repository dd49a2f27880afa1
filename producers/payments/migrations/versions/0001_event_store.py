"""Heads, outbox, command ids and sink positions of payments."""

from __future__ import annotations

from alembic import op

from producers.store.migrating import create_event_store

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """See `producers.store.tables`."""
    create_event_store(op.get_context())
