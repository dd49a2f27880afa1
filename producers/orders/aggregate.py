"""The order: what it may still become, and why not."""

from __future__ import annotations

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
    OrderRejected,
    OrderShipped,
    RejectOrder,
    ShipOrder,
)

CREATED, CONFIRMED, REJECTED = "CREATED", "CONFIRMED", "REJECTED"
CANCELLED, SHIPPED = "CANCELLED", "SHIPPED"

# Reasons of refusals; a wrong status is told as e.g. ORDER_IS_REJECTED.
UNKNOWN_ORDER = "UNKNOWN_ORDER"
ORDER_EXISTS = "ORDER_EXISTS"

WALLET = "wallet"
# What a confirmation waits for: the order and the wallet change together or not at all.
PAY_FROM_WALLET = "PAY_FROM_WALLET"


@dataclass(frozen=True, slots=True)
class Order:
    """An order's state; `status` is None before its creation. Money in minor units of `currency`."""

    status: str | None = None
    reason: str | None = None
    customer_id: str = ""
    currency: str = ""
    total_minor: int = 0
    lines: tuple[OrderLine, ...] = ()
    payment_method: str = ""


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
    }


def _from_json(kept: dict[str, Any]) -> Order:
    return Order(**{**kept, "lines": tuple(OrderLine(*line) for line in kept["lines"])})


def _with_payment_method(kept: dict[str, Any]) -> dict[str, Any]:
    # Before form 2 no order was ever paid from a wallet: each was refused.
    return {**kept, "payment_method": "card"}


ORDERS: Aggregate[Order] = Aggregate(
    aggregatetype="orders",
    source="/tally/orders",
    initial=initial,
    decide=decide,
    evolve=evolve,
    form=SnapshotForm(version=2, to_json=_to_json, from_json=_from_json, upcasters={1: _with_payment_method}),
)
