"""The order: what it may still become, and why not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from producers.store.deciding import Accepted, Aggregate, Decision, Postponed, Refused
from producers.store.snapshots import SnapshotForm
from schemas.messages import (
    CancelOrder,
    ConfirmOrder,
    CreateOrder,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    OrderLinesReturned,
    OrderRejected,
    OrderShipped,
    RejectOrder,
    ReturnedLine,
    ReturnOrderLines,
    ShipOrder,
)

CREATED, CONFIRMED, REJECTED = "CREATED", "CONFIRMED", "REJECTED"
CANCELLED, SHIPPED = "CANCELLED", "SHIPPED"

# Reasons of refusals; a wrong status is told as e.g. ORDER_IS_REJECTED.
UNKNOWN_ORDER = "UNKNOWN_ORDER"
ORDER_EXISTS = "ORDER_EXISTS"
UNKNOWN_LINE = "UNKNOWN_LINE"
RETURNED_TOO_MUCH = "RETURNED_TOO_MUCH"
INVALID_QUANTITY = "INVALID_QUANTITY"
NOTHING_RETURNED = "NOTHING_RETURNED"

WALLET = "wallet"
# What a confirmation waits for: the order and the wallet change together or not at all.
PAY_FROM_WALLET = "PAY_FROM_WALLET"


@dataclass(frozen=True, slots=True)
class Order:
    """An order's state; `status` is None before its creation. Money in minor units of `currency`.

    `returned` is what came back so far: (line, units), by line.
    """

    status: str | None = None
    reason: str | None = None
    customer_id: str = ""
    currency: str = ""
    total_minor: int = 0
    lines: tuple[OrderLine, ...] = ()
    payment_method: str = ""
    returned: tuple[tuple[int, int], ...] = ()


initial = Order()


def decide(order: Order, command: Any) -> Decision:
    """The events that `command` brings about, or the reason why it may not be.

    What is so already is accepted without an event: confirming twice is no mistake of the sender's.
    """
    if isinstance(command, CreateOrder):
        return _create(order, command)
    if order.status is None:
        return Refused(UNKNOWN_ORDER)
    match command:
        case ConfirmOrder() if order.status == SHIPPED:
            return Accepted()  # it was confirmed, and more
        case ConfirmOrder() if order.status == CREATED and order.payment_method == WALLET:
            return Postponed(PAY_FROM_WALLET)
        case ConfirmOrder():
            return confirm(order)
        case RejectOrder(reason):
            return _move(order, REJECTED, (CREATED,), OrderRejected(reason))
        case CancelOrder(reason):
            return _move(order, CANCELLED, (CREATED, CONFIRMED), OrderCancelled(reason))
        case ShipOrder():
            return _move(order, SHIPPED, (CONFIRMED,), OrderShipped())
        case ReturnOrderLines():
            return _return(order, command)
    raise TypeError(f"{type(command).__name__} is no command of an order")


def confirm(order: Order) -> Decision:
    """ConfirmOrder, decided where its payment is made in the same transaction."""
    return _move(order, CONFIRMED, (CREATED,), OrderConfirmed())


def evolve(order: Order, event: Any) -> Order:
    """The state after `event`; an event that does not touch the state leaves it as it is."""
    match event:
        case OrderCreated():
            return Order(
                CREATED, None, event.customer_id, event.currency, event.total_minor, event.lines, event.payment_method
            )
        case OrderConfirmed():
            return replace(order, status=CONFIRMED)
        case OrderRejected(reason):
            return replace(order, status=REJECTED, reason=reason)
        case OrderCancelled(reason):
            return replace(order, status=CANCELLED, reason=reason)
        case OrderShipped():
            return replace(order, status=SHIPPED)
        case OrderLinesReturned(lines):
            return replace(order, returned=_summed(order.returned, ((line.line, line.quantity) for line in lines)))
    return order


def _create(order: Order, command: CreateOrder) -> Decision:
    if order.status is not None:
        return Refused(ORDER_EXISTS)
    total_minor = sum(line.quantity * line.unit_price_minor for line in command.lines)
    created = OrderCreated(
        customer_id=command.customer_id,
        currency=command.currency,
        lines=command.lines,
        total_minor=total_minor,
        payment_method=command.payment_method,
        payment_reference=command.payment_reference,
    )
    return Accepted((created,))


def _return(order: Order, command: ReturnOrderLines) -> Decision:
    """Of what was shipped, what has not come back yet; each line at the price that was paid for it."""
    if order.status != SHIPPED:
        return Refused(f"ORDER_IS_{order.status}")
    if not command.lines:
        return Refused(NOTHING_RETURNED)
    if any(line.quantity < 1 for line in command.lines):
        return Refused(INVALID_QUANTITY)
    wished = _summed((), ((line.line, line.quantity) for line in command.lines))
    line_by_number, returned = {line.line: line for line in order.lines}, dict(order.returned)
    if any(number not in line_by_number for number, _ in wished):
        return Refused(UNKNOWN_LINE)
    if any(returned.get(number, 0) + units > line_by_number[number].quantity for number, units in wished):
        return Refused(RETURNED_TOO_MUCH)
    lines = tuple(ReturnedLine(number, units, line_by_number[number].sku) for number, units in wished)
    refund_minor = sum(units * line_by_number[number].unit_price_minor for number, units in wished)
    return Accepted((OrderLinesReturned(lines, refund_minor),))


def _summed(units: tuple[tuple[int, int], ...], more: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Units by line, `more` added, in the order of the lines."""
    total = dict(units)
    for line, quantity in more:
        total[line] = total.get(line, 0) + quantity
    return tuple(sorted(total.items()))


def _move(order: Order, to: str, allowed_from: tuple[str, ...], event: Any) -> Decision:
    if order.status == to:
        return Accepted()
    if order.status not in allowed_from:
        return Refused(f"ORDER_IS_{order.status}")
    return Accepted((event,))


def _to_json(order: Order) -> dict[str, Any]:
    return {
        "status": order.status,
        "reason": order.reason,
        "customer_id": order.customer_id,
        "currency": order.currency,
        "total_minor": order.total_minor,
        "payment_method": order.payment_method,
        # Arrays, not objects: a head row is written anew with every event, and some orders have 1,114 lines.
        "lines": [[line.line, line.sku, line.quantity, line.unit_price_minor] for line in order.lines],
        "returned": [list(entry) for entry in order.returned],
    }


def _from_json(kept: dict[str, Any]) -> Order:
    lines, returned = kept["lines"], kept["returned"]
    return Order(
        **{
            **kept,
            "lines": tuple(OrderLine(*line) for line in lines),
            "returned": tuple((line, units) for line, units in returned),
        }
    )


def _with_payment_method(kept: dict[str, Any]) -> dict[str, Any]:
    # Before form 2 no order was ever paid from a wallet: each was refused.
    return {**kept, "payment_method": "card"}


def _without_returns(kept: dict[str, Any]) -> dict[str, Any]:
    # Before form 3 nothing could come back.
    return {**kept, "returned": []}


ORDERS: Aggregate[Order] = Aggregate(
    aggregatetype="orders",
    source="/tally/orders",
    initial=initial,
    decide=decide,
    evolve=evolve,
    form=SnapshotForm(
        version=3,
        to_json=_to_json,
        from_json=_from_json,
        upcasters={1: _with_payment_method, 2: _without_returns},
    ),
)
