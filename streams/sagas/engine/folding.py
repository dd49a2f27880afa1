"""What the events of a saga mean for its state: the engine's `evolve`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from schemas.envelope import Message
from schemas.messages import (
    SagaCompensationStarted,
    SagaEnded,
    SagaRetryScheduled,
    SagaStatusAsked,
    SagaStepAnswered,
    SagaStepStarted,
)
from streams.sagas.engine.declaration import Declaration, Kind, Step
from streams.sagas.engine.state import AGAIN, NO_LINE, WHOLE, Place, Refusal, SagaState, Status, Trouble

S = TypeVar("S", bound=SagaState)

DONE, REFUSED = "DONE", "REFUSED"


def evolve(declaration: Declaration[S], saga: S, event: Message) -> S:
    """The state after an event of sagas.events; ids and version come from its envelope."""
    return stamp(apply(declaration, saga, event.body), [event])


def stamp(saga: S, events: list[Message]) -> S:
    """A state to which the bodies of `events` were applied, with what only their envelopes tell."""
    first, version = events[0].envelope, events[-1].envelope.version or 0
    if saga.saga_id:
        return replace(saga, version=version)
    return replace(
        saga,
        saga_id=first.id,
        correlation_id=first.correlation_id,
        started_at=first.recorded_at,
        version=version,
    )


def apply(declaration: Declaration[S], saga: S, event: Any) -> S:
    """As `evolve`, without what only the envelope tells."""
    match event:
        case _ if isinstance(event, declaration.started):
            saga = replace(saga, status=Status.RUNNING, due=((WHOLE, event.ends_by),))
        case SagaStepStarted():
            saga = _apply_start(declaration, saga, event)
        case SagaStepAnswered():
            saga = _apply_answer(declaration, saga, event)
        case SagaStatusAsked(step=step, due_at=due_at):
            saga = without(saga, step)
            saga = replace(saga, due=(*saga.due, (step, due_at)), asked=saga.asked | {step})
        case SagaRetryScheduled():
            saga = _apply_retry(saga, event)
        case SagaCompensationStarted(reason=reason):
            saga = replace(_waiting_for_nothing(saga), status=Status.COMPENSATING, outcome=None, reason=reason)
        case SagaEnded(outcome=outcome, reason=reason):
            saga = replace(_waiting_for_nothing(saga), status=Status.ENDED, outcome=outcome, reason=reason)
    return declaration.moved(saga, event)


def without(saga: S, *timers: str) -> S:
    """The state without some of its timers."""
    return replace(saga, due=tuple(entry for entry in saga.due if entry[0] not in timers))


def _waiting_for_nothing(saga: S) -> S:
    return replace(saga, awaited=frozenset(), due=(), troubles=(), asked=frozenset())


def _apply_retry(saga: S, event: SagaRetryScheduled) -> S:
    line, timer = event.line or NO_LINE, AGAIN + event.step
    others = tuple(found for found in saga.troubles if (found.step, found.line) != (event.step, line))
    if timer not in dict(saga.due):
        # One timer a step: parts that fail meanwhile go with it.
        saga = replace(saga, due=(*saga.due, (timer, event.due_at)))
    return replace(saga, troubles=(*others, Trouble(event.step, line, event.attempt, event.reason)))


def _apply_start(declaration: Declaration[S], saga: S, event: SagaStepStarted) -> S:
    name = event.step
    attempts, awaited = saga.attempts_of(name), saga.awaited
    step = declaration.by_name[name]
    if not attempts:
        awaited = awaited | _places(declaration, saga, step)
    elif step.kind is Kind.RETRIABLE:
        # Started anew by an operator: what was refused is a try to come, under an id of its own.
        saga = _to_try_again(saga, name)
        awaited = saga.awaited
    if step.recurs:
        awaited = awaited | _places(declaration, saga, step)
    saga = without(saga, name, AGAIN + name, *((WHOLE,) if name == declaration.give_up else ()))
    due = saga.due if event.due_at is None else (*saga.due, (name, event.due_at))
    counted = {**dict(saga.attempts), name: attempts + 1}
    saga = replace(saga, awaited=awaited, due=due, attempts=tuple(counted.items()))
    if step in declaration.afterwards:
        saga = replace(saga, status=Status.RUNNING, outcome=None)
    return saga


def _to_try_again(saga: S, name: str) -> S:
    refused = saga.refusals_of(name)
    troubles = tuple(Trouble(name, found.line, saga.attempts_of(name), found.reason or REFUSED) for found in refused)
    return replace(
        saga,
        awaited=saga.awaited | {(name, found.line) for found in refused},
        refusals=tuple(found for found in saga.refusals if found.step != name),
        troubles=(*saga.troubles, *troubles),
    )


def _places(declaration: Declaration[S], saga: S, step: Step[S]) -> frozenset[Place]:
    if not step.fans_out:
        return frozenset({(step.name, NO_LINE)})
    # A part that was refused has no effect to undo.
    undone = [found.name for found in declaration.steps if found.compensation == step.name and found.fans_out]
    refused = {refusal.line for name in undone for refusal in saga.refusals_of(name)}
    return frozenset((step.name, number) for number in step.numbers(saga) if number not in refused)


def _apply_answer(declaration: Declaration[S], saga: S, event: SagaStepAnswered) -> S:
    line = event.line or NO_LINE
    awaited = saga.awaited - {(event.step, line)}
    troubles = tuple(found for found in saga.troubles if (found.step, found.line) != (event.step, line))
    saga = replace(saga, awaited=awaited, troubles=troubles)
    if not saga.awaits(event.step):
        saga = without(saga, event.step, AGAIN + event.step)
    others = tuple(found for found in saga.refusals if (found.step, found.line) != (event.step, line))
    saga = replace(saga, refusals=others)
    if event.outcome == REFUSED:
        return replace(saga, refusals=(*saga.refusals, Refusal(event.step, line, event.reason)))
    step = declaration.by_name.get(event.step)
    if step is not None and (step.kind is Kind.PIVOT or step.name == declaration.give_up):
        saga = without(saga, WHOLE)
    return saga
