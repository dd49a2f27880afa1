"""An order as people see it, folded from its history: for questions about a moment in the past."""

from __future__ import annotations

from functools import reduce
from typing import Any

from producers.orders.aggregate import ORDERS
from schemas.envelope import Message, body_to_json, to_rfc3339


def view_after(past: list[Message]) -> dict[str, Any] | None:
    """The order after these events, its first ones; None before any. The same shape as the table `orders`."""
    if not past:
        return None
    order = reduce(ORDERS.evolve, (event.body for event in past), ORDERS.initial)
    view: dict[str, Any] = {
        "id": past[0].envelope.subject,
        "customer_id": order.customer_id,
        "lines": body_to_json(order.lines),
        "status": order.status,
        "reason": order.reason,
        "total_minor": order.total_minor,
        "currency": order.currency,
        "created_at": to_rfc3339(past[0].envelope.recorded_at),
        "version": past[-1].envelope.version,
    }
    if order.returned:
        view["returned"] = [{"line": line, "quantity": units} for line, units in order.returned]
    return view
