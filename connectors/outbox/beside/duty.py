"""What a duty is."""

from __future__ import annotations

from typing import Protocol

from connectors.outbox.positions import StoredPosition


class Duty(Protocol):
    """Something that is done between two batches, while none is open."""

    def serve(self, stored: StoredPosition) -> None:
        """Does what is due by now; called often, so it must itself know when."""

    def close(self) -> None:
        """The stream has ended."""
