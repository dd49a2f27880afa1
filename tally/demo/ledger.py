"""What the demo knows of its orders: when each was posted, and what the events said of it since."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

STATUS_BY_TYPE = {
    "ORDER_CREATED": "CREATED",
    "ORDER_CONFIRMED": "CONFIRMED",
    "ORDER_REJECTED": "REJECTED",
    "ORDER_CANCELLED": "CANCELLED",
    "ORDER_SHIPPED": "SHIPPED",
}


@dataclass(slots=True)
class Seen:
    """One order as its events show it; moments are seconds of the monotonic clock."""

    status: str = "CREATED"
    reason: str | None = None
    confirmed_at_s: float | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Ledger:
    """Everything that the player did and the watcher saw; used from the event loop's thread only."""

    orders: dict[str, Seen] = field(default_factory=dict)
    order_by_invoice: dict[str, str] = field(default_factory=dict)
    ship_asked: set[str] = field(default_factory=set)
    cancel_asked: set[str] = field(default_factory=set)
    latencies_s: dict[str, list[float]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    short_skus: Counter[str] = field(default_factory=Counter)
    received: set[str] = field(default_factory=set)
    troubles: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def see(self, type_: str, order_id: str, reason: str | None, at_s: float) -> None:
        """An event of an order came."""
        seen = self.order(order_id)
        status = STATUS_BY_TYPE.get(type_)
        if status is None:
            return
        seen.status, seen.reason = status, reason
        if status == "CONFIRMED":
            seen.confirmed_at_s = at_s
        if status != "CREATED":
            seen.ended.set()
        self.changed.set()

    def order(self, order_id: str) -> Seen:
        """What is known of an order; events may come before the answer to its POST."""
        return self.orders.setdefault(order_id, Seen())

    def placed(self, invoice: str, order_id: str) -> None:
        """The POST of an invoice was answered."""
        self.order_by_invoice[invoice] = order_id
        self.order(order_id)

    def status_of(self, invoice: str) -> str | None:
        """The status of an invoice's order; None when none was placed."""
        order_id = self.order_by_invoice.get(invoice)
        return None if order_id is None else self.orders[order_id].status

    @property
    def statuses(self) -> Counter[str]:
        """How many of the demo's orders have each status."""
        return Counter(self.orders[order_id].status for order_id in self.order_by_invoice.values())

    @property
    def reasons(self) -> Counter[str]:
        """How often orders were rejected for each reason."""
        mine = [self.orders[order_id] for order_id in self.order_by_invoice.values()]
        return Counter(seen.reason or "none given" for seen in mine if seen.status == "REJECTED")

    def unsettled(self) -> list[str]:
        """Orders that still have to move: not ended, or asked to ship or cancel and not there yet."""
        return [
            order_id
            for order_id in self.order_by_invoice.values()
            if not self._is_settled(order_id, self.orders[order_id].status)
        ]

    def _is_settled(self, order_id: str, status: str) -> bool:
        if order_id in self.ship_asked:
            return status in ("SHIPPED", "CANCELLED")
        if order_id in self.cancel_asked:
            return status == "CANCELLED"
        return status != "CREATED"
