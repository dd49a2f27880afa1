"""The order saga as data: its steps, their kinds, commands, deadlines and compensations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from schemas.messages import (
    AuthorisePayment,
    CapturePayment,
    ConfirmOrder,
    RefundPayment,
    RejectOrder,
    ReleaseStock,
    ReserveStock,
    ReturnStock,
    SagaEnded,
    SagaLinesReturned,
    SagaStarted,
    SagaStepAnswered,
    SagaStepStarted,
    ShipStock,
    VoidPayment,
)
from schemas.topics import INVENTORY_COMMANDS, ORDERS_COMMANDS, PAYMENTS_COMMANDS
from streams.sagas.engine.deciding import TIMED_OUT
from streams.sagas.engine.declaration import Declaration, Kind, Part, Step
from streams.sagas.engine.folding import REFUSED, without
from streams.sagas.engine.state import WHOLE
from streams.sagas.state import CANCELLED, CONFIRMED, CREATED, REJECTED, SHIPPED, OrderSaga, Status

__all__ = ["CANCEL", "ORDER_SAGA", "ORDER_TIMEOUT", "STEP_BY_COMMAND_TYPE", "TIMED_OUT"]

ORDER_TIMEOUT = timedelta(seconds=60)
# Answer of no step of ours: what a person decided about the order.
CANCEL = "cancel"
# Why money is given back for lines that came back.
RETURNED = "RETURNED"


def _lines(saga: OrderSaga) -> tuple[Part, ...]:
    return tuple(Part(line.line, line.sku, line.quantity) for line in saga.lines)


def _reserve(saga: OrderSaga, part: Part | None) -> ReserveStock:
    assert part is not None
    return ReserveStock(saga.order_id, part.number, part.about)


def _authorise(saga: OrderSaga, _: Part | None) -> AuthorisePayment:
    return AuthorisePayment(saga.total_minor, saga.currency, saga.payment_method, saga.payment_reference)


def _release(saga: OrderSaga, part: Part | None) -> ReleaseStock:
    assert part is not None
    return ReleaseStock(saga.order_id, part.number)


def _ship(saga: OrderSaga, part: Part | None) -> ShipStock:
    assert part is not None
    return ShipStock(saga.order_id, part.number)


def _refunds(saga: OrderSaga) -> tuple[Part, ...]:
    return tuple(Part(number, saga.order_id, amount_minor) for number, amount_minor in saga.refunds)


def _refund(saga: OrderSaga, part: Part | None) -> RefundPayment:
    assert part is not None
    return RefundPayment(part.about, RETURNED, part.number)


def _restocks(saga: OrderSaga) -> tuple[Part, ...]:
    return tuple(Part(found.number, found.sku, found) for found in saga.restocks)


def _restock(saga: OrderSaga, part: Part | None) -> ReturnStock:
    assert part is not None
    return ReturnStock(saga.order_id, part.about.line, part.about.quantity, part.number)


def _moved(saga: OrderSaga, event: Any) -> OrderSaga:
    """What an event of the saga means for what is the order's."""
    match event:
        case SagaStarted():
            return replace(
                saga,
                order_status=CREATED,
                customer_id=event.customer_id,
                currency=event.currency,
                total_minor=event.total_minor,
                payment_method=event.payment_method,
                payment_reference=event.payment_reference,
                lines=event.lines,
            )
        case SagaStepStarted(step="ship"):
            return replace(saga, order_status=SHIPPED)
        case SagaLinesReturned():
            return _returned(saga, event)
        case SagaStepAnswered(step="refund", outcome=outcome, line=number) if outcome != REFUSED:
            return replace(saga, refunds=tuple(entry for entry in saga.refunds if entry[0] != number))
        case SagaStepAnswered(step="restock", outcome=outcome, line=number) if outcome != REFUSED:
            return replace(saga, restocks=tuple(found for found in saga.restocks if found.number != number))
        case SagaStepAnswered(outcome=outcome) if outcome != REFUSED:
            return _decided(saga, event)
        case SagaEnded(outcome=outcome) if outcome != CONFIRMED:
            # A confirmed one may still be cancelled or shipped; of any other little needs to be known.
            nothing = OrderSaga()
            return replace(
                saga,
                customer_id=nothing.customer_id,
                currency=nothing.currency,
                total_minor=nothing.total_minor,
                payment_method=nothing.payment_method,
                payment_reference=nothing.payment_reference,
                lines=nothing.lines,
                refusals=nothing.refusals,
                attempts=nothing.attempts,
            )
    return saga


def _returned(saga: OrderSaga, event: SagaLinesReturned) -> OrderSaga:
    """Opens an ended saga again; free goods come back without a refund."""
    if saga.status is Status.ENDED:
        # All its steps were taken: that is how it came to be shipped.
        taken = (*(step.name for step in ORDER_SAGA.steps_of(saga)), "ship")
        saga = replace(saga, status=Status.RUNNING, outcome=None, attempts=tuple((name, 1) for name in taken))
    return replace(
        saga,
        refunds=saga.refunds + (((event.number, event.refund_minor),) if event.refund_minor else ()),
        restocks=saga.restocks + event.lines,
        returned_at=event.number,
        lines_returned=saga.lines_returned + len(event.lines),
    )


def _decided(saga: OrderSaga, answered: SagaStepAnswered) -> OrderSaga:
    """After an answer that tells what the order has become."""
    step = ORDER_SAGA.by_name.get(answered.step)
    if step is not None and step.kind is Kind.PIVOT:
        return replace(saga, order_status=CONFIRMED)
    if answered.step not in ("reject", CANCEL):
        return saga
    saga = without(replace(saga, order_status=REJECTED if answered.step == "reject" else CANCELLED), WHOLE)
    if saga.status is Status.COMPENSATING:
        return saga
    return replace(saga, reason=answered.reason or saga.reason)


_C, _R, _U = Kind.COMPENSATABLE, Kind.RETRIABLE, Kind.COMPENSATION
_STOCK, _PAYMENT, _ORDER = (
    (INVENTORY_COMMANDS, "inventory"),
    (PAYMENTS_COMMANDS, "payments"),
    (ORDERS_COMMANDS, "orders"),
)

ORDER_SAGA: Declaration[OrderSaga] = Declaration(
    name="order",
    outcome=CONFIRMED,
    deadline=ORDER_TIMEOUT,
    # Capture follows the pivot: a failed capture is asked for again, never undone.
    steps=(
        Step("reserve", _C, *_STOCK, ReserveStock, _reserve, parts=_lines, compensation="release"),
        Step("authorise", _C, *_PAYMENT, AuthorisePayment, _authorise, compensation="void"),
        Step("confirm", Kind.PIVOT, *_ORDER, ConfirmOrder, lambda saga, _: ConfirmOrder()),
        Step("capture", _R, *_PAYMENT, CapturePayment, lambda saga, _: CapturePayment(), compensation="void"),
    ),
    # The goods leave, and some come back.
    afterwards=(
        Step("ship", _R, *_STOCK, ShipStock, _ship, parts=_lines, outcome=SHIPPED),
        Step("refund", _R, *_PAYMENT, RefundPayment, _refund, parts=_refunds, recurs=True),
        Step("restock", _R, *_STOCK, ReturnStock, _restock, parts=_restocks, recurs=True),
    ),
    # All at once: an order whose payment provider is silent is rejected in time all the same.
    compensations=(
        Step("void", _U, *_PAYMENT, VoidPayment, lambda saga, _: VoidPayment(saga.reason or "")),
        Step("release", _U, *_STOCK, ReleaseStock, _release, parts=_lines),
        Step("reject", _U, *_ORDER, RejectOrder, lambda saga, _: RejectOrder(saga.reason or TIMED_OUT)),
    ),
    give_up="reject",
    moved=_moved,
)
STEP_BY_COMMAND_TYPE = ORDER_SAGA.by_command_type
