"""Whether a saga needs what is held in its name, asked by old holds."""

from __future__ import annotations

from datetime import datetime

from schemas.envelope import Message, derive_id
from schemas.messages import AskAboutHold, ReleaseStock
from schemas.topics import INVENTORY_COMMANDS
from streams.outgoing import SAGA_SOURCE, Address, Outgoing, follow
from streams.sagas.state import CANCELLED, REJECTED, SHIPPED, OrderSaga, Status

# Outcomes after which nothing is held any more: given back, or gone.
_HOLDS_NOTHING = (REJECTED, CANCELLED, SHIPPED)


def needs(saga: OrderSaga, sku: str, line: int) -> bool:
    """Whether a hold has an owner: a saga that has this line, and has not ended without it."""
    if saga.status is Status.UNKNOWN:
        # A reservation leaves with the events that begin its saga: without one nobody will ever give it back.
        return False
    if saga.status is Status.ENDED and saga.outcome in _HOLDS_NOTHING:
        return False
    # One that ended has given away what it knew of its lines, and may be open again for what came back.
    return not saga.lines or any((found.line, found.sku) == (line, sku) for found in saga.lines)


def answer_hold(saga: OrderSaga, question: Message, at: datetime) -> list[Outgoing]:
    """A release for a hold that nobody needs; to one that is needed nothing is said."""
    asked: AskAboutHold = question.body
    if needs(saga, asked.sku, asked.line):
        return []
    order_id = question.envelope.subject
    to = Address(SAGA_SOURCE, "inventory", asked.sku)
    body = ReleaseStock(order_id, asked.line)
    release = follow(question.envelope, derive_id(question.envelope.id, "release"), to, body, at)
    return [Outgoing(INVENTORY_COMMANDS, release)]
