"""What follows from what a saga has heard: the engine's `decide`, the same for every declaration.

steps in their order -> SAGA_ENDED with the declaration's outcome
a refusal or a late answer before the pivot -> compensate -> SAGA_ENDED as the arbiter said
once the pivot was sent, the arbiter decides: nothing is undone until it has given up
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from schemas.messages import (
    CommandAnswered,
    SagaCompensationStarted,
    SagaEnded,
    SagaRetryScheduled,
    SagaStatusAsked,
    SagaStepAnswered,
    SagaStepStarted,
)
from streams.sagas.engine.declaration import STATUS_TIMEOUT, Declaration, Kind, Part, Step
from streams.sagas.engine.folding import DONE, REFUSED, apply
from streams.sagas.engine.state import AGAIN, NO_LINE, SagaState, Status, Verdict

S = TypeVar("S", bound=SagaState)

TIMED_OUT = "TIMED_OUT"
# Answers beside DONE and REFUSED: try again; and, to a question, that nothing was decided.
TRANSIENT, UNDECIDED = "TRANSIENT", "UNDECIDED"


@dataclass(frozen=True, slots=True)
class Command(Generic[S]):
    """A command to send: of which step, for which part (0: none), and which of the decided events asks for it.

    `attempt` is 0 until the participant has answered that it is to be tried again: a command that was answered is
    answered the same for ever, so that another try is another command. With `asks` it is not the command itself that
    is to be sent but the question what became of it.
    """

    step: Step[S]
    line: int
    subject: str
    body: Any
    event_index: int
    attempt: int = 0
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Decision(Generic[S]):
    """Events to append to the saga's history, in order, commands to send, and the state that the events lead to.

    `saga` lacks what only the events' envelopes tell: see `folding.stamp`.
    """

    events: tuple[Any, ...]
    commands: tuple[Command[S], ...]
    saga: S


class Draft(Generic[S]):
    """The decision as it grows: each event is applied at once, so that the next is decided on what it left."""

    def __init__(self, declaration: Declaration[S], saga: S, at: datetime) -> None:
        self.declaration, self.saga, self.at = declaration, saga, at
        self.events: list[Any] = []
        self.commands: list[Command[S]] = []

    def say(self, event: Any) -> None:
        """Appends an event."""
        self.saga = apply(self.declaration, self.saga, event)
        self.events.append(event)

    def answer(self, step: str, line: int, outcome: str, reason: str | None = None) -> None:
        """Notes how a step, or a part of it, went."""
        self.say(SagaStepAnswered(step, outcome, line or None, reason))

    def start(self, step: Step[S]) -> None:
        """Starts a step, or asks again for the answers that it still lacks; a command keeps its id."""
        self.say(SagaStepStarted(step.name, self.at + step.timeout(self.saga.attempts_of(step.name))))
        self._send(step, {line for name, line in self.saga.awaited if name == step.name})

    def ask(self, step: Step[S]) -> None:
        """Asks what became of the commands of a step that lack an answer."""
        self.say(SagaStatusAsked(step.name, self.at + STATUS_TIMEOUT))
        self._send(step, {line for name, line in self.saga.awaited if name == step.name}, asks=True)

    def try_again(self, step: Step[S]) -> None:
        """Sends anew what was answered with a wish to try again; the step's own deadline stays."""
        self.say(SagaStepStarted(step.name, dict(self.saga.due).get(step.name)))
        self._send(step, {found.line for found in self.saga.troubles if found.step == step.name})

    def _send(self, step: Step[S], lines: set[int], asks: bool = False) -> None:
        saga, index = self.saga, len(self.events) - 1
        parts = (Part(NO_LINE, saga.subject),) if step.parts is None else step.parts(saga)
        for part in parts:
            if part.number in lines:
                body = step.command(saga, None if step.parts is None else part)
                attempt = saga.attempt_of(step.name, part.number)
                self.commands.append(Command(step, part.number, part.subject, body, index, attempt, asks))

    def decision(self) -> Decision[S]:
        """What came of it, the saga brought to where it has to wait again."""
        if self.events:
            go_on(self)
        return Decision(tuple(self.events), tuple(self.commands), self.saga)


def hear(draft: Draft[S], answer: CommandAnswered) -> None:
    """An answer of a participant; one that nobody waits for says nothing."""
    saga, line = draft.saga, answer.line or NO_LINE
    step = draft.declaration.by_command_type.get(answer.command_type)
    if step is None or (step.name, line) not in saga.awaited:
        return
    undoes = step.kind is Kind.COMPENSATION and step.name != draft.declaration.give_up
    if answer.outcome == DONE:
        draft.answer(step.name, line, DONE, answer.reason)
    elif answer.outcome == UNDECIDED:
        if step.name in saga.asked:
            _compensate(draft, TIMED_OUT)
    elif answer.outcome == TRANSIENT or undoes:
        attempt = saga.attempt_of(step.name, line) + 1
        pause = step.retry.pause(attempt, f"{saga.saga_id}/{step.name}/{line}")
        reason = answer.reason or answer.outcome
        draft.say(SagaRetryScheduled(step.name, draft.at + pause, attempt, reason, line or None))
    else:
        draft.answer(step.name, line, REFUSED, answer.reason)


def pass_deadline(draft: Draft[S], timer: str, due_at: datetime) -> None:
    """A timer's moment came; one that was moved or met says nothing."""
    saga, declaration = draft.saga, draft.declaration
    if (timer, due_at) not in saga.due:
        return
    step = declaration.by_name.get(timer.removeprefix(AGAIN))
    if step is None:
        give_up(draft, TIMED_OUT)
    elif timer != step.name:
        draft.try_again(step)
    elif step.kind is not Kind.COMPENSATABLE:
        draft.start(step)
    elif step.name in saga.asked or saga.troubles:
        # Whoever asks to be tried again has told what he knows; who does not even say that has had his time.
        _compensate(draft, TIMED_OUT)
    else:
        draft.ask(step)


def give_up(draft: Draft[S], reason: str) -> None:
    """Undoes all before the pivot; afterwards asks the arbiter to give up."""
    if _pivot_was_sent(draft.declaration, draft.saga):
        draft.start(draft.declaration.by_name[draft.declaration.give_up])
    else:
        _compensate(draft, reason)


def _pivot_was_sent(declaration: Declaration[S], saga: S) -> bool:
    return any(saga.attempts_of(step.name) for step in declaration.steps if step.kind is Kind.PIVOT)


def go_on(draft: Draft[S]) -> None:
    """From where the saga stands to where it has to wait again."""
    saga = draft.saga
    if saga.status is Status.COMPENSATING:
        _end_compensation(draft)
    elif _is_given_up(draft.declaration, saga):
        if saga.outcome is None or saga.outcome != saga.given_up_as:
            arbitrated = TIMED_OUT if saga.attempts_of(draft.declaration.give_up) else saga.given_up_as
            _compensate(draft, saga.reason or arbitrated)
            _end_compensation(draft)
    elif saga.status is Status.RUNNING:
        _next_step(draft)


def _next_step(draft: Draft[S]) -> None:
    declaration = draft.declaration
    for step in declaration.steps_of(draft.saga):
        saga = draft.saga
        if not saga.attempts_of(step.name):
            draft.start(step)
            return
        if saga.awaits(step.name):
            return
        refusals = saga.refusals_of(step.name)
        if refusals and step.kind is Kind.COMPENSATABLE:
            _compensate(draft, refusals[0].reason or REFUSED)
            _end_compensation(draft)
            return
        if refusals and not (step.kind is Kind.PIVOT and saga.verdict is Verdict.KEPT):
            # The pivot: the arbiter's own events will tell what it became. A retriable one: only a person can help.
            return
    _end(draft)


def _end(draft: Draft[S]) -> None:
    saga, declaration = draft.saga, draft.declaration
    outcome = declaration.outcome
    for step in (step for step in declaration.afterwards if not step.recurs):
        if saga.attempts_of(step.name):
            if saga.awaits(step.name) or saga.refusals_of(step.name):
                return
            outcome = step.outcome or outcome
    recurring = [step for step in declaration.afterwards if step.recurs]
    for step in recurring:
        if any((step.name, line) not in saga.awaited for line in _not_refused(saga, step)):
            draft.start(step)
    if not any(step.numbers(draft.saga) for step in recurring):
        draft.say(SagaEnded(outcome))


def _not_refused(saga: S, step: Step[S]) -> set[int]:
    """Parts of a step that are to be done and were not refused."""
    return set(step.numbers(saga)) - {found.line for found in saga.refusals_of(step.name)}


def _compensate(draft: Draft[S], reason: str) -> None:
    draft.say(SagaCompensationStarted(reason))
    saga, declaration = draft.saga, draft.declaration
    taken = [step for step in declaration.steps if saga.attempts_of(step.name) and not _had_no_effect(saga, step)]
    needed = {step.compensation for step in taken}
    if not _is_given_up(declaration, saga):
        # An affair that a person let stand meanwhile refuses it: then the saga is shown as stuck.
        needed.add(declaration.give_up)
    for step in declaration.compensations:
        if step.name in needed:
            draft.start(step)


def _had_no_effect(saga: S, step: Step[S]) -> bool:
    """Whether all of a step was refused."""
    return len(saga.refusals_of(step.name)) == len(step.numbers(saga))


def _end_compensation(draft: Draft[S]) -> None:
    saga = draft.saga
    if _is_given_up(draft.declaration, saga) and not saga.awaited:
        draft.say(SagaEnded(saga.given_up_as, saga.reason))


def _is_given_up(declaration: Declaration[S], saga: S) -> bool:
    """What the arbiter says; where there is none, the answer to the wish to give up is the end."""
    if saga.verdict is not Verdict.UNDECIDED:
        return saga.verdict is Verdict.GIVEN_UP
    name = declaration.give_up
    return bool(saga.attempts_of(name)) and not saga.awaits(name) and not saga.refusals_of(name)
