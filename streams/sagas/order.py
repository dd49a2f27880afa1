"""The order saga's rules: `initial`, `decide` and `evolve`; inputs may come repeated and in any order.

Its state is the fold of its own events, and time comes in as `at`, the moment at which the input is handled.

    ORDER_CREATED -> reserve every line -> authorise -> confirm (pivot) -> capture -> SAGA_ENDED CONFIRMED
    a refusal or a late answer before the pivot -> compensate -> SAGA_ENDED REJECTED
    ORDER_CANCELLED at any time -> compensate -> SAGA_ENDED CANCELLED
    ORDER_SHIPPED -> ship every line -> SAGA_ENDED SHIPPED
Once confirm was sent, the order aggregate arbitrates: nothing is released until its events show REJECTED or CANCELLED.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from schemas.envelope import Message
from schemas.messages import (
    CommandAnswered,
    DeadlinePassed,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderRejected,
    OrderShipped,
    SagaCompensationStarted,
    SagaEnded,
    SagaLine,
    SagaStarted,
    SagaStepAnswered,
    SagaStepStarted,
)
from streams.sagas.folding import (
    CANCEL,
    CANCELLED,
    CONFIRMED,
    CREATED,
    DONE,
    REFUSED,
    REJECTED,
    SHIPPED,
    apply,
    evolve,
)
from streams.sagas.state import NO_LINE, ORDER_DEADLINE, OrderSaga, Status
from streams.sagas.steps import (
    COMPENSATIONS,
    ORDER_TIMEOUT,
    SHIP,
    STEP_BY_COMMAND_TYPE,
    STEP_BY_NAME,
    STEPS,
    TIMED_OUT,
    Kind,
    Step,
    timeout,
)

__all__ = ["Command", "Decision", "TIMED_OUT", "decide", "evolve", "initial"]


@dataclass(frozen=True, slots=True)
class Command:
    """A command to send: of which step, for which line (0: none), and which of the decided events asks for it."""

    step: Step
    line: int
    subject: str
    body: Any
    event_index: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Events to append to the saga's history, in order, commands to send, and the state that the events lead to.

    `saga` lacks what only the events' envelopes tell: see `folding.stamp`.
    """

    events: tuple[Any, ...]
    commands: tuple[Command, ...]
    saga: OrderSaga


def initial() -> OrderSaga:
    """No saga yet."""
    return OrderSaga()


def decide(saga: OrderSaga, message: Message, at: datetime) -> Decision:
    """What follows from an input at moment `at`; nothing from one that was heard before or came too late."""
    if saga.status is Status.UNKNOWN:
        saga = replace(saga, order_id=message.envelope.subject)
    draft = _Draft(saga, at)
    match message.body:
        case OrderCreated() as created:
            _start(draft, created)
        case _ if saga.status is Status.UNKNOWN:
            pass
        case OrderConfirmed():
            if saga.order_status == CREATED:
                draft.answer("confirm", NO_LINE, DONE)
        case OrderRejected(reason=reason):
            if saga.order_status == CREATED:
                draft.answer("reject", NO_LINE, DONE, reason)
        case OrderCancelled(reason=reason):
            if saga.order_status in (CREATED, CONFIRMED):
                draft.answer(CANCEL, NO_LINE, DONE, reason)
        case OrderShipped():
            # One that a person shipped while it is being undone is shown as stuck: the order refuses to be rejected.
            if saga.order_status == CONFIRMED and saga.status is not Status.COMPENSATING:
                draft.start(SHIP)
        case CommandAnswered() as answer:
            _hear(draft, answer)
        case DeadlinePassed(step=step, due_at=due_at):
            if (step, due_at) in saga.due:
                _pass_deadline(draft, step)
    if draft.events:
        _go_on(draft)
    return Decision(tuple(draft.events), tuple(draft.commands), draft.saga)


class _Draft:
    """The decision as it grows: each event is applied at once, so that the next is decided on what it left."""

    def __init__(self, saga: OrderSaga, at: datetime) -> None:
        self.saga, self.at = saga, at
        self.events: list[Any] = []
        self.commands: list[Command] = []

    def say(self, event: Any) -> None:
        self.saga = apply(self.saga, event)
        self.events.append(event)

    def answer(self, step: str, line: int, outcome: str, reason: str | None = None) -> None:
        self.say(SagaStepAnswered(step, outcome, line or None, reason))

    def start(self, step: Step) -> None:
        """Starts a step, or asks again for the answers that it still lacks; a command keeps its id."""
        self.say(SagaStepStarted(step.name, self.at + timeout(step, self.saga.attempts_of(step.name))))
        index = len(self.events) - 1
        if not step.fans_out:
            body = step.command(self.saga, None)
            self.commands.append(Command(step, NO_LINE, self.saga.order_id, body, index))
            return
        for line in self.saga.lines:
            if (step.name, line.line) in self.saga.awaited:
                self.commands.append(Command(step, line.line, line.sku, step.command(self.saga, line), index))


def _start(draft: _Draft, created: OrderCreated) -> None:
    if draft.saga.status is not Status.UNKNOWN:
        return
    draft.say(
        SagaStarted(
            customer_id=created.customer_id,
            currency=created.currency,
            total_minor=created.total_minor,
            payment_method=created.payment_method,
            payment_reference=created.payment_reference,
            lines=tuple(SagaLine(line.line, line.sku, line.quantity) for line in created.lines),
            ends_by=draft.at + ORDER_TIMEOUT,
        )
    )


def _hear(draft: _Draft, answer: CommandAnswered) -> None:
    step, line = STEP_BY_COMMAND_TYPE.get(answer.command_type), answer.line or NO_LINE
    if step is not None and (step.name, line) in draft.saga.awaited:
        draft.answer(step.name, line, DONE if answer.outcome == DONE else REFUSED, answer.reason)


def _pass_deadline(draft: _Draft, name: str) -> None:
    saga = draft.saga
    if name == ORDER_DEADLINE:
        if saga.attempts_of("confirm"):
            draft.start(STEP_BY_NAME["reject"])
        else:
            _compensate(draft, TIMED_OUT)
    elif STEP_BY_NAME[name].kind is Kind.COMPENSATABLE:
        _compensate(draft, TIMED_OUT)
    else:
        draft.start(STEP_BY_NAME[name])


def _go_on(draft: _Draft) -> None:
    """From where the saga stands to where it has to wait again."""
    saga = draft.saga
    if saga.status is Status.COMPENSATING:
        _end_compensation(draft)
    elif saga.order_status in (REJECTED, CANCELLED):
        if saga.outcome not in (REJECTED, CANCELLED):
            arbitrated = TIMED_OUT if saga.attempts_of("reject") else saga.order_status
            _compensate(draft, saga.reason or arbitrated)
            _end_compensation(draft)
    elif saga.status is Status.RUNNING:
        _next_step(draft)


def _next_step(draft: _Draft) -> None:
    for step in STEPS:
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
        if refusals and not (step.kind is Kind.PIVOT and saga.order_status in (CONFIRMED, SHIPPED)):
            # The pivot: the order's own events will tell what it became. A capture: only a person can help.
            return
    if not draft.saga.attempts_of(SHIP.name):
        draft.say(SagaEnded(CONFIRMED))
    elif not draft.saga.awaits(SHIP.name) and not draft.saga.refusals_of(SHIP.name):
        draft.say(SagaEnded(SHIPPED))


def _compensate(draft: _Draft, reason: str) -> None:
    draft.say(SagaCompensationStarted(reason))
    saga = draft.saga
    needed = {step.compensation for step in STEPS if saga.attempts_of(step.name) and not _had_no_effect(saga, step)}
    if saga.order_status not in (REJECTED, CANCELLED):
        # An order that a person confirmed meanwhile refuses it: then the saga is shown as stuck.
        needed.add("reject")
    for step in COMPENSATIONS:
        if step.name in needed:
            draft.start(step)


def _had_no_effect(saga: OrderSaga, step: Step) -> bool:
    """Whether all of a step was refused."""
    parts = len(saga.lines) if step.fans_out else 1
    return len(saga.refusals_of(step.name)) == parts


def _end_compensation(draft: _Draft) -> None:
    saga = draft.saga
    if saga.order_status in (REJECTED, CANCELLED) and not saga.awaited and saga.stuck is None:
        draft.say(SagaEnded(saga.order_status, saga.reason))
