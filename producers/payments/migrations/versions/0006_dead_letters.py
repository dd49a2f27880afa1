"""Commands of payments that are set aside, in the table of parked ones."""

from __future__ import annotations

from alembic import op

from producers.store.migrating import execute
from producers.store.tables import DEAD_LETTERS

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """See `producers.store.tables`."""
    execute(op.get_context(), DEAD_LETTERS)
