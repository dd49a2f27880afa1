"""Messages of the order aggregate; key and subject are the order id."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One line of an order; `line` counts from 1; money in minor units of the order's currency."""

    line: int
    sku: str
    quantity: int
    unit_price_minor: int


@dataclass(frozen=True, slots=True)
class ReturnedLine:
    """How much of a shipped line came back; `sku` is None in events that were written before there was that field."""

    line: int
    quantity: int
    sku: str | None = None


@dataclass(frozen=True, slots=True)
class LineToReturn:
    """How much of which line came back, as it is wished."""

    line: int
    quantity: int


@dataclass(frozen=True, slots=True)
class CreateOrder:
    customer_id: str
    currency: str
    lines: tuple[OrderLine, ...]
    payment_method: str
    payment_reference: str


@dataclass(frozen=True, slots=True)
class ConfirmOrder:
    pass


@dataclass(frozen=True, slots=True)
class RejectOrder:
    reason: str


@dataclass(frozen=True, slots=True)
class CancelOrder:
    reason: str


@dataclass(frozen=True, slots=True)
class ShipOrder:
    pass


@dataclass(frozen=True, slots=True)
class ReturnOrderLines:
    """Lines of a shipped order, or parts of them, came back; a line that stands twice counts with the sum."""

    lines: tuple[LineToReturn, ...]


@dataclass(frozen=True, slots=True)
class OrderCreated:
    customer_id: str
    currency: str
    lines: tuple[OrderLine, ...]
    total_minor: int
    payment_method: str
    payment_reference: str


@dataclass(frozen=True, slots=True)
class OrderConfirmed:
    pass


@dataclass(frozen=True, slots=True)
class OrderRejected:
    reason: str


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    reason: str


@dataclass(frozen=True, slots=True)
class OrderShipped:
    pass


@dataclass(frozen=True, slots=True)
class OrderLinesReturned:
    """`refund_minor` is what the customer gets back; None in events that were written before there was that field."""

    lines: tuple[ReturnedLine, ...]
    refund_minor: int | None = None


@dataclass(frozen=True, slots=True)
class OrderListed:
    """An order as the list of its customer shows it; on the re-key topic, keyed by customer id."""

    order_id: str
    status: str
    reason: str | None
    total_minor: int
    currency: str
    created_at: str
    version: int
