"""What a follower knows of one order: a fold of events of three topics, which come repeated and in any order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from schemas.envelope import Message
from schemas.messages import (
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderRejected,
    OrderShipped,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentVoided,
    ReservationFenced,
    ReservationRefused,
    ReservationReleased,
    StockReserved,
    StockShipped,
)

ORDER_STATUS: dict[type, str] = {
    OrderCreated: "CREATED",
    OrderConfirmed: "CONFIRMED",
    OrderRejected: "REJECTED",
    OrderCancelled: "CANCELLED",
    OrderShipped: "SHIPPED",
}
HOLD_STATUS: dict[type, str] = {
    StockReserved: "HELD",
    ReservationRefused: "REFUSED",
    ReservationFenced: "FENCED",
    ReservationReleased: "RELEASED",
    StockShipped: "SHIPPED",
}
PAYMENT_STATUS: dict[type, str] = {
    PaymentAuthorised: "AUTHORISED",
    PaymentCaptured: "CAPTURED",
    PaymentDeclined: "DECLINED",
    PaymentVoided: "GIVEN_BACK",
    PaymentRefunded: "GIVEN_BACK",
}
# An older event that comes late or again changes nothing: a hold and a payment only ever go up this scale.
_RANK = {"HELD": 1, "AUTHORISED": 1, "CAPTURED": 2}
_LAST = 3


@dataclass(frozen=True, slots=True)
class Known:
    """`created` is the order as it was placed, `since` when this follower heard of it; holds by line."""

    order_id: str = ""
    created: OrderCreated | None = None
    since: datetime | None = None
    status: str = ""
    version: int = 0
    reason: str | None = None
    holds: tuple[tuple[int, str], ...] = ()
    payment: str = "NONE"

    @property
    def hold_by_line(self) -> dict[int, str]:
        """Statuses of the holds that were heard of."""
        return dict(self.holds)

    @property
    def is_over(self) -> bool:
        """Whether the order was given up."""
        return self.status in ("REJECTED", "CANCELLED")


def order_of(event: Message) -> str | None:
    """The order that an event is about; None for events that no follower needs."""
    if type(event.body) in HOLD_STATUS:
        found: str = event.body.order_id
        return found
    return event.envelope.subject if type(event.body) in ORDER_STATUS | PAYMENT_STATUS else None


def evolve(known: Known, event: Message, at: datetime) -> Known:
    """What is known after an event that is heard at moment `at`."""
    body, kind = event.body, type(event.body)
    if kind in ORDER_STATUS:
        return _order(known, event, at)
    if kind in HOLD_STATUS:
        holds = known.hold_by_line
        if _rank(HOLD_STATUS[kind]) <= _rank(holds.get(body.line, "")):
            return known
        return replace(known, holds=tuple(sorted((holds | {body.line: HOLD_STATUS[kind]}).items())))
    status = PAYMENT_STATUS[kind]
    return known if _rank(status) <= _rank(known.payment) else replace(known, payment=status)


def _order(known: Known, event: Message, at: datetime) -> Known:
    body, version = event.body, event.envelope.version or 0
    if isinstance(body, OrderCreated) and known.created is None:
        known = replace(known, created=body, since=at)
    if version <= known.version:
        return known
    reason: Any = getattr(body, "reason", known.reason)
    return replace(known, status=ORDER_STATUS[type(body)], version=version, reason=reason)


def _rank(status: str) -> int:
    return 0 if status in ("", "NONE") else _RANK.get(status, _LAST)
