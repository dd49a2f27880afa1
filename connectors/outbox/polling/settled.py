"""Up to which number the table is settled: every smaller one is visible, or belongs to a transaction that was rolled back.

Numbers of a sequence are drawn in order and committed in any order, so the highest visible number says nothing of those
below it. But an insert locks its table (ROW EXCLUSIVE, until its transaction ends) before it draws its number. So whoever
has drawn a smaller number than one that is visible either has ended or is seen holding that lock: once all who are seen
have ended, a new snapshot shows every number up to that one. Unlike pg_snapshot_xmin this waits for nobody else.
"""

from __future__ import annotations

from collections.abc import Set

NOTHING = -(2**63)


class Settled:
    """Follows looks at the table; `up_to` never falls."""

    def __init__(self) -> None:
        self.up_to = NOTHING
        self._newest = NOTHING
        self._awaited: Set[str] = frozenset()

    def look(self, newest: int | None, writers: Set[str]) -> None:
        """`newest` is the highest number in a snapshot, `writers` the transactions that held the lock just after it."""
        if self._awaited and not self._awaited & writers:
            self.up_to, self._awaited = max(self.up_to, self._newest), frozenset()
        if newest is None or newest <= self.up_to:
            return
        if not writers:
            self.up_to, self._awaited = newest, frozenset()
        elif not self._awaited:
            self._newest, self._awaited = newest, writers

    @property
    def is_waiting(self) -> bool:
        """Whether rows are visible that are not settled yet."""
        return bool(self._awaited)
