"""Messages of the stock of one SKU; key and subject are the SKU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReserveStock:
    order_id: str
    line: int
    quantity: int


@dataclass(frozen=True, slots=True)
class ReleaseStock:
    order_id: str
    line: int


@dataclass(frozen=True, slots=True)
class ShipStock:
    order_id: str
    line: int


@dataclass(frozen=True, slots=True)
class ReturnStock:
    """Units of a shipped line came back; each `number` (of an order's returned lines) comes back once."""

    order_id: str
    line: int
    quantity: int
    number: int


@dataclass(frozen=True, slots=True)
class ReceiveStock:
    quantity: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AdjustStock:
    """`quantity` is signed."""

    quantity: int
    reason: str


@dataclass(frozen=True, slots=True)
class StockReceived:
    """`on_hand` and `reserved` are the counts after the event, here and below."""

    quantity: int
    reason: str | None
    on_hand: int
    reserved: int


@dataclass(frozen=True, slots=True)
class StockAdjusted:
    quantity: int
    reason: str
    on_hand: int
    reserved: int


@dataclass(frozen=True, slots=True)
class StockReturned:
    order_id: str
    line: int
    quantity: int
    reason: str | None
    on_hand: int
    reserved: int
    number: int | None = None


@dataclass(frozen=True, slots=True)
class StockReserved:
    order_id: str
    line: int
    quantity: int
    on_hand: int
    reserved: int


@dataclass(frozen=True, slots=True)
class ReservationReleased:
    order_id: str
    line: int
    quantity: int
    on_hand: int
    reserved: int


@dataclass(frozen=True, slots=True)
class StockShipped:
    order_id: str
    line: int
    quantity: int
    on_hand: int
    reserved: int


@dataclass(frozen=True, slots=True)
class ReservationRefused:
    order_id: str
    line: int
    quantity: int
    reason: str
    on_hand: int
    reserved: int


@dataclass(frozen=True, slots=True)
class ReservationFenced:
    """A release came before its reservation: the reservation, should it still come, is refused."""

    order_id: str
    line: int
    quantity: int
    reason: str
    on_hand: int
    reserved: int


@dataclass(frozen=True, slots=True)
class StockShortage:
    """An adjustment left less on hand than is held; `missing` units are promised and not there."""

    missing: int
    on_hand: int
    reserved: int
