"""Decisions of two-phase commits, and the markers of those that orders takes part in."""

from __future__ import annotations

from alembic import op

from producers.store.migrating import execute, grant
from producers.two_phase.tables import COORDINATOR_MAY, DECISIONS, MARKERS, PARTICIPANT_MAY

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """See `producers.two_phase.tables`."""
    context = op.get_context()
    execute(context, DECISIONS + MARKERS)
    grant(context, COORDINATOR_MAY | PARTICIPANT_MAY, {})
