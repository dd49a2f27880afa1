"""The read model `stock`: what of each SKU is there and to be had, from inventory.events."""

from __future__ import annotations

from schemas.envelope import Message
from streams.errors import UnexpectedMessage
from streams.read_models.history import Row, is_repeat


def key(event: Message) -> str:
    """The SKU."""
    return event.envelope.subject


def evolve(row: Row | None, event: Message) -> Row | None:
    """The row after an event of a SKU's stock; None for one that it has already.

    Raises UnexpectedMessage, HistoryGap and HistoryForked.
    """
    body, envelope = event.body, event.envelope
    if envelope.aggregatetype != "inventory" or not hasattr(body, "on_hand"):
        raise UnexpectedMessage(envelope.type, "inventory.events")
    if is_repeat(row, event):
        return None
    return {
        "sku": envelope.subject,
        "on_hand": body.on_hand,
        "reserved": body.reserved,
        "available": max(body.on_hand - body.reserved, 0),
        "version": envelope.version,
        "event_id": envelope.id,
    }
