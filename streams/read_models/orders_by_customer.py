"""The read model `orders_by_customer`: a customer's orders, newest state each, from the re-key topic."""

from __future__ import annotations

from datetime import datetime

from schemas.envelope import Message, derive_id
from schemas.keys import SEPARATOR
from schemas.messages import OrderListed
from schemas.topics import ORDERS_BY_CUSTOMER_REKEY
from streams.errors import HistoryForked, UnexpectedMessage
from streams.outgoing import Address, Outgoing, follow
from streams.read_models.history import Row

SOURCE = "/tally/read-models"


def key(event: Message) -> str:
    """Customer id and order id; the customer id routes. Raises UnexpectedMessage."""
    if not isinstance(event.body, OrderListed):
        raise UnexpectedMessage(event.envelope.type, ORDERS_BY_CUSTOMER_REKEY)
    return f"{event.envelope.subject}{SEPARATOR}{event.body.order_id}"


def rekey(order: Row, cause: Message, at: datetime) -> Outgoing:
    """An order's row on its way to the partition of its customer."""
    body = OrderListed(
        order_id=order["id"],
        status=order["status"],
        reason=order["reason"],
        total_minor=order["total_minor"],
        currency=order["currency"],
        created_at=order["created_at"],
        version=order["version"],
    )
    to = Address(SOURCE, "orders", order["customer_id"])
    return Outgoing(
        ORDERS_BY_CUSTOMER_REKEY,
        follow(cause.envelope, derive_id(cause.envelope.id, "listed"), to, body, at),
    )


def evolve(row: Row | None, event: Message) -> Row | None:
    """The row after an ORDER_LISTED; None for a version that it has or has passed.

    Each message holds the whole row, so a version that lacks in between costs nothing: the newest wins.
    Raises HistoryForked for another message under the row's version.
    """
    body, envelope = event.body, event.envelope
    if row is not None and body.version <= row["version"]:
        if body.version == row["version"] and row["event_id"] != envelope.id:
            raise HistoryForked(f"orders/{body.order_id} as listed", body.version, (row["event_id"], envelope.id))
        return None
    return {
        "id": body.order_id,
        "status": body.status,
        "reason": body.reason,
        "total_minor": body.total_minor,
        "currency": body.currency,
        "created_at": body.created_at,
        "version": body.version,
        "event_id": envelope.id,
    }
