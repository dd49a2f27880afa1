"""What the events of sagas.events mean: the order saga's `evolve`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from schemas.envelope import Message
from schemas.messages import SagaCompensationStarted, SagaEnded, SagaStarted, SagaStepAnswered, SagaStepStarted
from streams.sagas.state import NO_LINE, ORDER_DEADLINE, OrderSaga, Place, Refusal, Status
from streams.sagas.steps import SHIP, STEP_BY_NAME, Step

DONE, REFUSED = "DONE", "REFUSED"
# The order's statuses, as its events show them; the last four are also outcomes of the saga.
CREATED, CONFIRMED, REJECTED = "CREATED", "CONFIRMED", "REJECTED"
CANCELLED, SHIPPED = "CANCELLED", "SHIPPED"
# Answers of no step of ours: what a person decided about the order.
CANCEL = "cancel"

_ORDER_STATUS_AFTER = {"confirm": CONFIRMED, "reject": REJECTED, CANCEL: CANCELLED}


def evolve(saga: OrderSaga, event: Message) -> OrderSaga:
    """The state after an event of sagas.events; ids and version come from its envelope."""
    return stamp(apply(saga, event.body), [event])


def stamp(saga: OrderSaga, events: list[Message]) -> OrderSaga:
    """A state to which the bodies of `events` were applied, with what only their envelopes tell."""
    first, version = events[0].envelope, events[-1].envelope.version or 0
    if not isinstance(events[0].body, SagaStarted):
        return replace(saga, version=version)
    return replace(
        saga,
        order_id=first.subject,
        saga_id=first.id,
        correlation_id=first.correlation_id,
        started_at=first.recorded_at,
        version=version,
    )


def apply(saga: OrderSaga, event: Any) -> OrderSaga:
    """As `evolve`, without what only the envelope tells."""
    match event:
        case SagaStarted():
            return OrderSaga(
                order_id=saga.order_id,
                status=Status.RUNNING,
                order_status=CREATED,
                customer_id=event.customer_id,
                currency=event.currency,
                total_minor=event.total_minor,
                payment_method=event.payment_method,
                payment_reference=event.payment_reference,
                lines=event.lines,
                due=((ORDER_DEADLINE, event.ends_by),),
            )
        case SagaStepStarted():
            return _apply_start(saga, event)
        case SagaStepAnswered():
            return _apply_answer(saga, event)
        case SagaCompensationStarted(reason=reason):
            return replace(saga, status=Status.COMPENSATING, outcome=None, reason=reason, awaited=frozenset(), due=())
        case SagaEnded(outcome=outcome, reason=reason):
            return _apply_end(saga, outcome, reason)
    return saga


def _apply_start(saga: OrderSaga, event: SagaStepStarted) -> OrderSaga:
    name = event.step
    attempts, awaited = saga.attempts_of(name), saga.awaited
    if not attempts:
        awaited = awaited | _places(saga, STEP_BY_NAME[name])
    gone = {name, ORDER_DEADLINE} if name == "reject" else {name}
    due = tuple(entry for entry in saga.due if entry[0] not in gone)
    if event.due_at is not None:
        due = (*due, (name, event.due_at))
    counted = {**dict(saga.attempts), name: attempts + 1}
    saga = replace(saga, awaited=awaited, due=due, attempts=tuple(counted.items()))
    if name == SHIP.name:
        return replace(saga, status=Status.RUNNING, outcome=None, order_status=SHIPPED)
    return saga


def _places(saga: OrderSaga, step: Step) -> frozenset[Place]:
    if not step.fans_out:
        return frozenset({(step.name, NO_LINE)})
    # A line that was refused holds nothing.
    refused = {refusal.line for refusal in saga.refusals_of("reserve")} if step.name == "release" else set()
    return frozenset((step.name, line.line) for line in saga.lines if line.line not in refused)


def _apply_answer(saga: OrderSaga, event: SagaStepAnswered) -> OrderSaga:
    line = event.line or NO_LINE
    awaited = saga.awaited - {(event.step, line)}
    gone = set() if any(name == event.step for name, _ in awaited) else {event.step}
    order_status, reason, refusals = saga.order_status, saga.reason, saga.refusals
    if event.outcome == REFUSED:
        refusals = (*refusals, Refusal(event.step, line, event.reason))
    elif event.step in _ORDER_STATUS_AFTER:
        order_status = _ORDER_STATUS_AFTER[event.step]
        gone.add(ORDER_DEADLINE)
        if event.step != "confirm" and saga.status is not Status.COMPENSATING:
            reason = event.reason or reason
    due = tuple(entry for entry in saga.due if entry[0] not in gone)
    return replace(saga, awaited=awaited, due=due, order_status=order_status, reason=reason, refusals=refusals)


def _apply_end(saga: OrderSaga, outcome: str, reason: str | None) -> OrderSaga:
    ended = replace(saga, status=Status.ENDED, outcome=outcome, reason=reason, awaited=frozenset(), due=())
    if outcome == CONFIRMED:
        # It may still be cancelled or shipped.
        return ended
    return replace(
        ended,
        customer_id="",
        currency="",
        total_minor=0,
        payment_method="",
        payment_reference="",
        lines=(),
        refusals=(),
        attempts=(),
    )
