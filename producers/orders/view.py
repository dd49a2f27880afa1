"""An order as people see it, folded from its history: for questions about a moment in the past."""

from __future__ import annotations

from functools import reduce
from typing import Any

from producers.orders.aggregate import ORDERS
from schemas.envelope import Message, body_to_json, derive_id, to_rfc3339

Row = dict[str, Any]

# What a customer's list shows of an order, in its order.
_LISTED = ("id", "status", "reason", "total_minor", "currency", "created_at", "version")


def view_after(past: list[Message]) -> Row | None:
    """The order after these events, its first ones; None before any. The same row as in the table `orders`."""
    if not past:
        return None
    order = reduce(ORDERS.evolve, (event.body for event in past), ORDERS.initial)
    view: Row = {
        "id": past[0].envelope.subject,
        "customer_id": order.customer_id,
        "lines": body_to_json(order.lines),
        "status": order.status,
        "reason": order.reason,
        "total_minor": order.total_minor,
        "currency": order.currency,
        "created_at": to_rfc3339(past[0].envelope.recorded_at),
    }
    if order.returned:
        view["returned"] = [{"line": line, "quantity": units} for line, units in order.returned]
    return {**view, "version": past[-1].envelope.version, "event_id": past[-1].envelope.id}


def listed_after(view: Row) -> Row:
    """The row of `orders_by_customer` for an order that stands at `view`."""
    return {name: view[name] for name in _LISTED} | {"event_id": derive_id(view["event_id"], "listed")}
