"""State that every saga has, whatever it is about: where it stands, what it waits for, what was refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

# In `due`, beside the names of steps: the whole saga's deadline.
WHOLE = "order"
# In `awaited` and `refusals`: the place of a step that does not fan out.
NO_LINE = 0

Place = tuple[str, int]


class Status(StrEnum):
    """Where the saga is; RUNNING also while steps after the end are taken."""

    UNKNOWN = "UNKNOWN"
    RUNNING = "RUNNING"
    COMPENSATING = "COMPENSATING"
    ENDED = "ENDED"


class Verdict(StrEnum):
    """What the arbiter has said: nothing yet, that the affair stands, or that it is given up."""

    UNDECIDED = "UNDECIDED"
    KEPT = "KEPT"
    GIVEN_UP = "GIVEN_UP"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A step (or one part of it) that was refused."""

    step: str
    line: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class SagaState:
    """`awaited` holds the answers that are still to come, `due` the timers: (name of step or WHOLE, moment)."""

    saga_id: str = ""
    correlation_id: str = ""
    version: int = 0
    status: Status = Status.UNKNOWN
    outcome: str | None = None
    reason: str | None = None
    started_at: datetime | None = None
    awaited: frozenset[Place] = frozenset()
    refusals: tuple[Refusal, ...] = ()
    attempts: tuple[tuple[str, int], ...] = ()
    due: tuple[tuple[str, datetime], ...] = ()

    @property
    def subject(self) -> str:
        """What the saga is about: the key of its messages."""
        raise NotImplementedError

    @property
    def verdict(self) -> Verdict:
        """What the arbiter has said."""
        return Verdict.UNDECIDED

    @property
    def given_up_as(self) -> str:
        """The outcome of a saga that its arbiter gave up."""
        return "REJECTED"

    def attempts_of(self, step: str) -> int:
        """How often a step was started; 0 for one that was not."""
        return dict(self.attempts).get(step, 0)

    def awaits(self, step: str) -> bool:
        """Whether an answer of the step is still to come."""
        return any(name == step for name, _ in self.awaited)

    def refusals_of(self, step: str) -> list[Refusal]:
        """What was refused of a step, by line."""
        return sorted((found for found in self.refusals if found.step == step), key=lambda found: found.line)
