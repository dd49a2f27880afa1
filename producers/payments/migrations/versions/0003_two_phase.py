"""The markers of two-phase commits that payments takes part in."""

from __future__ import annotations

from alembic import op

from producers.store.migrating import execute, grant
from producers.two_phase.tables import MARKERS, PARTICIPANT_MAY

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """See `producers.two_phase.tables`."""
    context = op.get_context()
    execute(context, MARKERS)
    grant(context, PARTICIPANT_MAY, {})
