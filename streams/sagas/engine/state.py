"""State that every saga has, whatever it is about: where it stands, what it waits for, what was refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

# In `due`, beside the names of steps: the whole saga's deadline.
WHOLE = "order"
# In `due`, behind the name of a step: when to try again what was answered with a wish to do so.
AGAIN = "again:"
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
class Trouble:
    """A step (or one part of it) that is tried again until it is done: how often it was answered so, and why last."""

    step: str
    line: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class SagaState:
    """`awaited` holds the answers that are still to come, `due` the timers by name and moment.

    A timer is named as its step, as its step behind AGAIN, or WHOLE. `asked` are the steps whose participants were
    asked what became of them.
    """

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
    troubles: tuple[Trouble, ...] = ()
    asked: frozenset[str] = frozenset()

    @property
    def subject(self) -> str:
        """What the saga is about: the key of its messages; a saga of your own says it by its own field."""
        return self.saga_id

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

    def attempt_of(self, step: str, line: int) -> int:
        """How often this part was answered with a wish to try again; it makes part of its command's id."""
        return next((found.attempt for found in self.troubles if (found.step, found.line) == (step, line)), 0)
