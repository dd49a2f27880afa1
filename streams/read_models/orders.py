"""The read model `orders`: each order as its customer sees it, from orders.events."""

from __future__ import annotations

from schemas.envelope import Message, to_rfc3339
from schemas.messages import (
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    OrderLinesReturned,
    OrderRejected,
    OrderShipped,
)
from streams.errors import HistoryGap, UnexpectedMessage
from streams.read_models.history import Row, is_repeat

_STATUS_AFTER = {
    OrderConfirmed: "CONFIRMED",
    OrderRejected: "REJECTED",
    OrderCancelled: "CANCELLED",
    OrderShipped: "SHIPPED",
}
_KNOWN = (OrderCreated, OrderLinesReturned, *_STATUS_AFTER)


def key(event: Message) -> str:
    """The order id."""
    return event.envelope.subject


def evolve(row: Row | None, event: Message) -> Row | None:
    """The row after an event of an order; None for one that it has already.

    `returned`, units by line, is there once something came back.

    Raises UnexpectedMessage, HistoryGap and HistoryForked.
    """
    body, envelope = event.body, event.envelope
    if not isinstance(body, _KNOWN):
        raise UnexpectedMessage(envelope.type, "orders.events")
    if is_repeat(row, event):
        return None
    if isinstance(body, OrderCreated):
        return {
            "id": envelope.subject,
            "customer_id": body.customer_id,
            "lines": [_line(line) for line in body.lines],
            "status": "CREATED",
            "reason": None,
            "total_minor": body.total_minor,
            "currency": body.currency,
            "created_at": to_rfc3339(envelope.recorded_at),
            "version": envelope.version,
            "event_id": envelope.id,
        }
    if row is None:
        raise HistoryGap(f"orders/{envelope.subject} has no ORDER_CREATED", envelope.version or 0, 1)
    row = {**row, "version": envelope.version, "event_id": envelope.id}
    if isinstance(body, OrderLinesReturned):
        row["returned"] = _with_returned(row.get("returned", []), body)
    else:
        row["status"], row["reason"] = _STATUS_AFTER[type(body)], getattr(body, "reason", None)
    return row


def _line(line: OrderLine) -> Row:
    # By name: `body_to_json`, which knows no line beforehand, takes ten times as long.
    return {
        "line": line.line,
        "sku": line.sku,
        "quantity": line.quantity,
        "unit_price_minor": line.unit_price_minor,
    }


def _with_returned(before: list[Row], body: OrderLinesReturned) -> list[Row]:
    units = {entry["line"]: entry["quantity"] for entry in before}
    for line in body.lines:
        units[line.line] = units.get(line.line, 0) + line.quantity
    return [{"line": line, "quantity": quantity} for line, quantity in sorted(units.items())]
