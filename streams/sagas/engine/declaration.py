"""What a saga is made of, as data: steps with kind, command, deadline, retries and compensation."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from schemas.messages import SagaStarted, wire_type
from streams.sagas.engine.state import NO_LINE, SagaState

S = TypeVar("S", bound=SagaState)

STEP_TIMEOUT = timedelta(seconds=10)
# What cannot be given up is asked for again, at twice the distance each time, up to this.
RETRY_TIMEOUT_MAX = timedelta(seconds=300)
# How soon the participant of a late step has to say what became of it.
STATUS_TIMEOUT = timedelta(seconds=5)
# What was answered with a wish to try again, and a compensation that was refused, is tried again: 0.2 to 30 s later.
RETRY_FIRST = timedelta(milliseconds=200)
RETRY_MAX = timedelta(seconds=30)
# A pause is between this share of its length and the whole: sagas that failed together do not come back together.
JITTER_LEAST = 0.5
# Doublings beyond this are far above every maximum, and would only make large numbers.
DOUBLINGS_MAX = 16


class Kind(StrEnum):
    """What may happen to a step (Garcia-Molina and Salem 1987; Richardson's words)."""

    COMPENSATABLE = "COMPENSATABLE"
    PIVOT = "PIVOT"
    RETRIABLE = "RETRIABLE"
    COMPENSATION = "COMPENSATION"


@dataclass(frozen=True, slots=True)
class Part:
    """One of the commands of a step that fans out: its number from 1, the key it is sent to, and what it is about."""

    number: int
    subject: str
    about: Any = None


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the answers of an attempt may take: `first`, then twice as long each time, up to `maximum`."""

    first: timedelta = STEP_TIMEOUT
    maximum: timedelta = RETRY_TIMEOUT_MAX

    def after(self, attempts: int) -> timedelta:
        """The time of the next attempt; `attempts` were made before."""
        return min(self.first * 2 ** min(attempts, DOUBLINGS_MAX), self.maximum)


@dataclass(frozen=True, slots=True)
class Retry:
    """Pauses between tries: `first`, then twice as long each time, up to `maximum`, less a share that ids decide."""

    first: timedelta = RETRY_FIRST
    maximum: timedelta = RETRY_MAX

    def pause(self, attempt: int, seed: str) -> timedelta:
        """The pause after the answer number `attempt`, from 1; the same seed gives the same pause."""
        whole = min(self.first * 2 ** min(attempt - 1, DOUBLINGS_MAX), self.maximum)
        share = zlib.crc32(f"{seed}/{attempt}".encode()) / 0xFFFF_FFFF
        pause = max(whole * (JITTER_LEAST + (1 - JITTER_LEAST) * share), RETRY_FIRST)
        # Whole milliseconds, as moments are written.
        return timedelta(milliseconds=pause // timedelta(milliseconds=1))


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """One step: `command` makes its command, once per part where it fans out, else once (part None).

    `topic` and `aggregatetype` are where it goes; the key is the saga's own subject, or the part's.
    `compensation` names what undoes it, `outcome` (of steps after the end) what the saga ends as then.
    One that `recurs` (of steps after the end) has the parts that are still to be done: it is started when there are
    any, once all other steps are through, and its parts may become more meanwhile.
    """

    name: str
    kind: Kind
    topic: str
    aggregatetype: str
    command_class: type
    command: Callable[[S, Part | None], Any]
    parts: Callable[[S], tuple[Part, ...]] | None = None
    compensation: str | None = None
    waits: Waits = field(default_factory=Waits)
    retry: Retry = field(default_factory=Retry)
    applies: Callable[[S], bool] | None = None
    outcome: str | None = None
    recurs: bool = False

    @property
    def command_type(self) -> str:
        """Wire type of its command."""
        return wire_type(self.command_class)

    @property
    def fans_out(self) -> bool:
        """Whether it is one command per part."""
        return self.parts is not None

    def timeout(self, attempts: int) -> timedelta:
        """How long the answers of the next attempt may take; what may be given up does not wait longer each time."""
        return self.waits.first if self.kind is Kind.COMPENSATABLE else self.waits.after(attempts)

    def numbers(self, saga: S) -> tuple[int, ...]:
        """Numbers of its parts; only NO_LINE where it does not fan out."""
        return (NO_LINE,) if self.parts is None else tuple(part.number for part in self.parts(saga))


class Begins(Protocol):
    """The event that begins a saga."""

    @property
    def ends_by(self) -> datetime:
        """When the whole saga is late."""


@dataclass(frozen=True, slots=True)
class Declaration(Generic[S]):
    """A whole saga.

    `steps` are taken in their order and end in `outcome`; `afterwards` are started by events once it has ended, or by
    themselves where they recur.
    `compensations` are sent in their order, which is the reverse of the steps', and all at once: each is fenced at
    its participant and none looks at another. `moved` folds into the user's own fields what an event means for them;
    it is called after the engine's fold. `deadline` bounds the way to the pivot. `started` is the class of the event
    that begins a saga: yours carries what your commands need, and `ends_by`.
    """

    name: str
    outcome: str
    deadline: timedelta
    steps: tuple[Step[S], ...]
    compensations: tuple[Step[S], ...]
    give_up: str
    moved: Callable[[S, Any], S]
    afterwards: tuple[Step[S], ...] = ()
    started: type[Begins] = SagaStarted
    by_name: dict[str, Step[S]] = field(init=False)
    by_command_type: dict[str, Step[S]] = field(init=False)

    def __post_init__(self) -> None:
        everything = (*self.steps, *self.afterwards, *self.compensations)
        object.__setattr__(self, "by_name", {step.name: step for step in everything})
        object.__setattr__(self, "by_command_type", {step.command_type: step for step in everything})
        if len(self.by_name) != len(everything) or len(self.by_command_type) != len(everything):
            raise ValueError(f"saga {self.name}: every step needs a name and a command type of its own")
        for step in self.steps:
            if step.compensation is not None and step.compensation not in self.by_name:
                raise ValueError(f"saga {self.name}: step {step.name} names no compensation that there is")
            if step.kind is Kind.COMPENSATABLE and step.compensation is None:
                raise ValueError(f"saga {self.name}: step {step.name} can be undone, and nothing says how")

    def steps_of(self, saga: S) -> tuple[Step[S], ...]:
        """The steps that this saga takes."""
        return tuple(step for step in self.steps if step.applies is None or step.applies(saga))

    def pivot_of(self, saga: S) -> Step[S]:
        """The step after which there is no way back. Raises StopIteration for a saga without one."""
        return next(step for step in self.steps_of(saga) if step.kind is Kind.PIVOT)
