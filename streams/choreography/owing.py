"""The rules: what each participant owes an order, given what it knows; nothing once it sees that it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.messages import (
    AuthorisePayment,
    CapturePayment,
    ConfirmOrder,
    RejectOrder,
    ReleaseStock,
    ReserveStock,
    ShipStock,
    VoidPayment,
)
from schemas.topics import INVENTORY_COMMANDS, ORDERS_COMMANDS, PAYMENTS_COMMANDS
from streams.choreography.known import Known
from streams.sagas.steps import ORDER_TIMEOUT, TIMED_OUT


@dataclass(frozen=True, slots=True)
class Owed:
    """A command to send: the key that it goes to, and the line that it is about (0: none)."""

    key: str
    body: Any
    line: int = 0


@dataclass(frozen=True, slots=True)
class Follower:
    """One participant: where its commands go, and its rule."""

    name: str
    topic: str
    owes: Callable[[Known, datetime], list[Owed]]


def stock_owes(known: Known, _: datetime) -> list[Owed]:
    """A hold for each line of a new order, none for one that was given up, goods that leave for a shipped one."""
    if known.created is None:
        return []
    holds, owed = known.hold_by_line, []
    for line in known.created.lines:
        status = holds.get(line.line)
        if known.status == "CREATED" and status is None:
            owed.append(Owed(line.sku, ReserveStock(known.order_id, line.line, line.quantity), line.line))
        elif known.is_over and status in (None, "HELD"):
            owed.append(Owed(line.sku, ReleaseStock(known.order_id, line.line), line.line))
        elif known.status == "SHIPPED" and status == "HELD":
            owed.append(Owed(line.sku, ShipStock(known.order_id, line.line), line.line))
    return owed


def payments_owe(known: Known, _: datetime) -> list[Owed]:
    """The money of a reserved order, taken when it is confirmed, given back when it is given up."""
    created, holds = known.created, known.hold_by_line
    if created is None:
        return []
    if known.is_over and known.payment not in ("GIVEN_BACK", "DECLINED"):
        return [Owed(known.order_id, VoidPayment(known.reason or ""))]
    if known.status in ("CONFIRMED", "SHIPPED") and known.payment == "AUTHORISED":
        return [Owed(known.order_id, CapturePayment())]
    # Distinct lines, never a count of events: each may come more than once.
    all_held = all(holds.get(line.line) == "HELD" for line in created.lines)
    if known.status == "CREATED" and all_held and known.payment == "NONE":
        means = (created.payment_method, created.payment_reference)
        return [Owed(known.order_id, AuthorisePayment(created.total_minor, created.currency, *means))]
    return []


def orders_owe(known: Known, at: datetime) -> list[Owed]:
    """The end of an order that is neither confirmed nor given up yet; its aggregate decides between late ones."""
    if known.status != "CREATED" or known.since is None:
        return []
    refused = any(status in ("REFUSED", "FENCED") for status in known.hold_by_line.values())
    if refused or known.payment == "DECLINED":
        return [Owed(known.order_id, RejectOrder("PAYMENT_DECLINED" if not refused else "INSUFFICIENT_STOCK"))]
    if at >= known.since + ORDER_TIMEOUT:
        return [Owed(known.order_id, RejectOrder(TIMED_OUT))]
    return [Owed(known.order_id, ConfirmOrder())] if known.payment == "AUTHORISED" else []


FOLLOWERS = (
    Follower("stock", INVENTORY_COMMANDS, stock_owes),
    Follower("payments", PAYMENTS_COMMANDS, payments_owe),
    Follower("orders", ORDERS_COMMANDS, orders_owe),
)
