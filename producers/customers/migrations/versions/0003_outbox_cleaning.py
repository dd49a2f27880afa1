"""The connector of customers may take published rows out of the outbox."""

from __future__ import annotations

from alembic import op

from producers.store.migrating import allow_cleaning

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """See `CLEANING` in `producers.store.tables`."""
    allow_cleaning(op.get_context())
