"""Waiting longer each time that something fails again."""

from __future__ import annotations

FIRST_S = 0.2
LONGEST_S = 5.0


class Backoff:
    """Doubles from 0.2 s to 5 s, and begins anew after a success."""

    def __init__(self) -> None:
        self._next_s = FIRST_S

    def next_s(self) -> float:
        """Seconds to wait now."""
        wait_s, self._next_s = self._next_s, min(self._next_s * 2, LONGEST_S)
        return wait_s

    def reset(self) -> None:
        """It worked."""
        self._next_s = FIRST_S
