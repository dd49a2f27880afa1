"""Named steps of a connector's life, so that an observer (a fault test, say) can act exactly between two of them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """In the order in which a first start reaches them; BATCH_SENT and BATCH_STORED come again with every batch.

    CLAIMED and STATUS_WRITTEN are the polling connector's own, before and behind these two.
    """

    TAKEN_OVER = "taken_over"
    ANNOUNCED = "announced"
    SLOT_MADE = "slot_made"
    ROWS_BEFORE_SENT = "rows_before_sent"
    FIRST_STORED = "first_stored"
    STREAMING = "streaming"
    BATCH_SENT = "batch_sent"
    BATCH_STORED = "batch_stored"
    CLAIMED = "claimed"
    STATUS_WRITTEN = "status_written"


AtStep = Callable[[Step], None]


def pass_by(_: Step) -> None:
    """Nobody looks."""
