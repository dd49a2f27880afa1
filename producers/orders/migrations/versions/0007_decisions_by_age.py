"""The newest decisions are found without a look at all."""

from __future__ import annotations

from alembic import op

from producers.store.migrating import execute
from producers.two_phase.tables import DECISIONS_BY_AGE

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """See `producers.two_phase.tables`."""
    execute(op.get_context(), DECISIONS_BY_AGE)
