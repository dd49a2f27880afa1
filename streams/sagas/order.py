"""The order saga's rules: `initial`, `decide` and `evolve`; inputs may come repeated and in any order.

Its state is the fold of its own events, and time comes in as `at`, the moment at which the input is handled.

    ORDER_CREATED -> reserve every line -> authorise -> confirm (pivot) -> capture -> SAGA_ENDED CONFIRMED
    a refusal or a late answer before the pivot -> compensate -> SAGA_ENDED REJECTED
    ORDER_CANCELLED at any time -> compensate -> SAGA_ENDED CANCELLED
    ORDER_SHIPPED -> ship every line -> SAGA_ENDED SHIPPED
    ORDER_LINES_RETURNED, as often as it comes -> refund and restock, both at once -> SAGA_ENDED SHIPPED
Once confirm was sent, the order aggregate arbitrates: nothing is released until its events show REJECTED or CANCELLED.
Here stands only what an input means for an order; how a saga goes on is the engine's.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from schemas.envelope import Message
from schemas.messages import (
    ActOnSaga,
    CommandAnswered,
    DeadlinePassed,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLinesReturned,
    OrderRejected,
    OrderShipped,
    SagaLine,
    SagaLinesReturned,
    SagaReturnedLine,
    SagaStarted,
)
from streams.sagas.engine import deciding, folding
from streams.sagas.engine.acting import act
from streams.sagas.engine.deciding import TIMED_OUT, Draft, hear, pass_deadline
from streams.sagas.engine.folding import DONE
from streams.sagas.state import CONFIRMED, CREATED, NO_LINE, SHIPPED, OrderSaga, Status
from streams.sagas.steps import CANCEL, ORDER_SAGA

__all__ = ["Command", "Decision", "TIMED_OUT", "decide", "evolve", "initial"]

Command = deciding.Command[OrderSaga]
Decision = deciding.Decision[OrderSaga]


def initial() -> OrderSaga:
    """No saga yet."""
    return OrderSaga()


def evolve(saga: OrderSaga, event: Message) -> OrderSaga:
    """The state after an event of sagas.events."""
    if saga.status is Status.UNKNOWN:
        saga = replace(saga, order_id=event.envelope.subject)
    return folding.evolve(ORDER_SAGA, saga, event)


def decide(saga: OrderSaga, message: Message, at: datetime) -> Decision:
    """What follows from an input at moment `at`; nothing from one that was heard before or came too late."""
    if saga.status is Status.UNKNOWN:
        saga = replace(saga, order_id=message.envelope.subject)
    draft = Draft(ORDER_SAGA, saga, at)
    match message.body:
        case OrderCreated() as created:
            _start(draft, created)
        case _ if saga.status is Status.UNKNOWN:
            pass
        case OrderConfirmed():
            if saga.order_status == CREATED:
                draft.answer(ORDER_SAGA.pivot_of(saga).name, NO_LINE, DONE)
        case OrderRejected(reason=reason):
            if saga.order_status == CREATED:
                draft.answer(ORDER_SAGA.give_up, NO_LINE, DONE, reason)
        case OrderCancelled(reason=reason):
            if saga.order_status in (CREATED, CONFIRMED):
                draft.answer(CANCEL, NO_LINE, DONE, reason)
        case OrderShipped():
            # One that a person shipped while it is being undone is shown as stuck: the order refuses to be rejected.
            if saga.order_status == CONFIRMED and saga.status is not Status.COMPENSATING:
                draft.start(ORDER_SAGA.by_name["ship"])
        case OrderLinesReturned() as returned:
            _take_back(draft, returned, message.envelope.version or 0)
        case CommandAnswered() as answer:
            hear(draft, answer)
        case ActOnSaga() as wish:
            act(draft, wish)
        case DeadlinePassed(step=step, due_at=due_at):
            pass_deadline(draft, step, due_at)
    return draft.decision()


def _start(draft: Draft[OrderSaga], created: OrderCreated) -> None:
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
            ends_by=draft.at + ORDER_SAGA.deadline,
        )
    )


def _take_back(draft: Draft[OrderSaga], returned: OrderLinesReturned, version: int) -> None:
    """Notes what came back; `version` is that of the order's event, by which a repeat is known."""
    saga = draft.saga
    if saga.order_status != SHIPPED or version <= saga.returned_at:
        return
    lines = tuple(
        SagaReturnedLine(number, line.line, line.sku or "", line.quantity)
        for number, line in enumerate(returned.lines, saga.lines_returned + 1)
    )
    draft.say(SagaLinesReturned(version, returned.refund_minor or 0, lines))
