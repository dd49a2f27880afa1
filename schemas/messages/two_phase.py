"""Messages of two-phase commits; the subject is the transaction's id."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TwoPhaseActed:
    """An operator's act that was done: `act` is COMMIT, ROLLBACK or FORGET; `by` is who, `reason` why."""

    act: str
    by: str
    reason: str
