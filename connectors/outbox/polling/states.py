"""What becomes of a batch's refused rows and of those behind them: remembered until their status is written."""

from __future__ import annotations

from connectors.outbox.waiting.entries import Content, Entry, Place, State
from connectors.outbox.waiting.keeper import Keeper


class RowStates(Keeper):
    """The keeper's rules with the table as the place to keep: it has the row, and its status column says why it waits."""

    @property
    def held(self) -> set[Place]:
        """Rows of the batch that are not published."""
        return {entry.place for entry in self.blocked}

    @property
    def failed(self) -> list[Entry]:
        """Rows of the batch that Kafka refused."""
        return [entry for entry in self.blocked if entry.state is State.FAILED]

    def commit(self) -> None:
        """The batch is stored, and the table says the rest."""
        super().commit()
        self.blocked.load(())

    def rollback(self) -> None:
        """The batch was aborted."""
        super().rollback()
        self.blocked.load(())

    def _put(self, entry: Entry, content: Content | None) -> None:
        self.blocked.put(entry)

    def _count(self) -> None:
        """Counted in the table, where the rows of other batches are too."""
