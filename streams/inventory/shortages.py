"""What follows from a shortage: of what is held and not there, the newest holds give way first.

Their orders are cancelled rather than their holds released: an order that is confirmed keeps its hold until its own
events say that it is given up (design 3.18), and then its saga releases all its lines and gives the money back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from schemas.envelope import Envelope, derive_id
from schemas.keys import SEPARATOR
from schemas.messages import CancelOrder
from schemas.topics import ORDERS_COMMANDS
from streams.inventory.rows import Row, hold_from_row, level_from_row
from streams.inventory.stock import Hold, HoldStatus, Level
from streams.outgoing import Address, Outgoing, cause_in_a_row, follow

STOCK_SHORTAGE = "STOCK_SHORTAGE"


def relieve(cause: Envelope, level: Level, holds: Mapping[str, Row], source: str, at: datetime) -> list[Outgoing]:
    """A cancellation for each order that has to give way, newest first; none where all that is held is there.

    `cause`: what was said to the SKU.

    An order is asked under one id for ever: to ask again, after the next adjustment, changes nothing. One that was
    shipped meanwhile refuses; its goods leave, and the count is explained then.
    """
    missing = level.reserved - level.on_hand
    if missing <= 0:
        return []
    sku = cause.subject
    out = []
    for order_id in giving_way(_held(sku, holds), missing):
        to = Address(source, "orders", order_id)
        id_ = derive_id(order_id, STOCK_SHORTAGE, sku)
        out.append(Outgoing(ORDERS_COMMANDS, follow(cause, id_, to, CancelOrder(STOCK_SHORTAGE), at)))
    return out


def relieve_again(
    skus: Iterable[str], levels: Mapping[str, Row], holds: Mapping[str, Row], source: str, at: datetime
) -> list[Outgoing]:
    """The same for SKUs that are short still: a cancellation that was set aside or discarded is asked for once more."""
    out = []
    for sku in sorted(set(skus)):
        id_ = derive_id(sku, STOCK_SHORTAGE, at.isoformat())
        cause = cause_in_a_row(id_, Address(source, "inventory", sku), at)
        out += relieve(cause, level_from_row(levels.get(sku)), holds, source, at)
    return out


def giving_way(held: Iterable[tuple[str, Hold]], missing: int) -> list[str]:
    """Orders, each once, whose holds cover `missing` units: those that were reserved last, first."""
    orders: dict[str, None] = {}
    for order_id, hold in sorted(held, key=lambda entry: entry[1].version, reverse=True):
        if missing <= 0:
            break
        orders[order_id] = None
        missing -= hold.quantity
    return list(orders)


def _held(sku: str, holds: Mapping[str, Row]) -> list[tuple[str, Hold]]:
    """All holds of a SKU that are held, with their orders; a walk over the partition, for an event that is rare."""
    prefix, found = f"{sku}{SEPARATOR}", []
    for key in holds:
        if key.startswith(prefix):
            hold = hold_from_row(holds[key])
            if hold is not None and hold.status is HoldStatus.HELD:
                found.append((key.split(SEPARATOR)[1], hold))
    return found
