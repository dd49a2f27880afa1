"""The rules of one SKU's stock: `initial`, `decide` and `evolve` over frozen values; no oversell, no leak.

`decide` sees the level of the SKU and the one hold (order, line) that the command is about. One row per hold is
fence, inbox and lock in one (Seata's TCC fence): a repeated, late or empty command finds it and is answered from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from schemas.envelope import Message
from schemas.messages import (
    AdjustStock,
    ReceiveStock,
    ReleaseStock,
    ReservationFenced,
    ReservationRefused,
    ReservationReleased,
    ReserveStock,
    ReturnStock,
    ShipStock,
    StockAdjusted,
    StockReceived,
    StockReserved,
    StockReturned,
    StockShipped,
    StockShortage,
)

# What one order line may ask for (interface.md section 4).
RESERVED_QUANTITY_MAX = 1_000_000
# What one receipt or adjustment may move, and the most that a SKU can hold: sums stay far inside 64 bits.
MOVED_QUANTITY_MAX = 1_000_000_000
ON_HAND_MAX = 1_000_000_000_000

INSUFFICIENT_STOCK = "INSUFFICIENT_STOCK"
UNKNOWN_SKU = "UNKNOWN_SKU"
INVALID_QUANTITY = "INVALID_QUANTITY"
BELOW_ZERO = "BELOW_ZERO"
RELEASED_BEFORE_RESERVED = "RELEASED_BEFORE_RESERVED"
ALREADY_RELEASED = "ALREADY_RELEASED"
ALREADY_SHIPPED = "ALREADY_SHIPPED"
NOT_HELD = "NOT_HELD"
NOT_SHIPPED = "NOT_SHIPPED"
RETURNED_TOO_MUCH = "RETURNED_TOO_MUCH"
# Why stock came back.
RETURNED = "RETURNED"
SHIPPED_DESPITE_SHORTAGE = "SHIPPED_DESPITE_SHORTAGE"

HoldCommand = ReserveStock | ReleaseStock | ShipStock | ReturnStock
LevelCommand = ReceiveStock | AdjustStock


class HoldStatus(StrEnum):
    """What became of one order line's reservation."""

    HELD = "HELD"
    RELEASED = "RELEASED"
    SHIPPED = "SHIPPED"
    REFUSED = "REFUSED"
    FENCED = "FENCED"


class Outcome(StrEnum):
    """How a command was answered; UNDECIDED answers a question for one that did not come."""

    DONE = "DONE"
    REFUSED = "REFUSED"
    UNDECIDED = "UNDECIDED"


@dataclass(frozen=True, slots=True)
class Level:
    """Counts of one SKU in units; `known` once anything was ever received or counted in."""

    on_hand: int = 0
    reserved: int = 0
    version: int = 0
    known: bool = False

    @property
    def available(self) -> int:
        """Units that a new reservation may have; 0 while there is a shortage."""
        return max(self.on_hand - self.reserved, 0)


@dataclass(frozen=True, slots=True)
class Hold:
    """What one order line has, had or may never have of the SKU; `command_id` made it, `version` changed it last.

    `returned` is what came back of it once it was shipped: (number of the return, units). Each number is a fence.
    `held_at` is when it was reserved, while it is held; None also for one that an older version reserved.
    """

    quantity: int
    status: HoldStatus
    reason: str | None
    command_id: str
    version: int
    returned: tuple[tuple[int, int], ...] = ()
    held_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stock:
    """What `decide` sees: the SKU's level and the hold that the command concerns, if there is one."""

    level: Level
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Events to append, in order, and the answer to whoever asked."""

    events: tuple[Any, ...]
    outcome: Outcome
    reason: str | None = None


def initial() -> Stock:
    """A SKU that nobody ever heard of."""
    return Stock(Level())


def decide(stock: Stock, command: HoldCommand | LevelCommand) -> Decision:
    """What follows from a command. Raises TypeError for anything that is no command of stock."""
    match command:
        case ReserveStock():
            return _reserve(stock, command)
        case ReleaseStock():
            return _release(stock, command)
        case ShipStock():
            return _ship(stock, command)
        case ReturnStock():
            return _return(stock, command)
        case ReceiveStock():
            return _receive(stock.level, command)
        case AdjustStock():
            return _adjust(stock.level, command)
    raise TypeError(f"{type(command).__name__} is no command of stock")


def evolve(stock: Stock, event: Message) -> Stock:
    """The state after an event; the envelope gives version and the command that caused it."""
    body, envelope = event.body, event.envelope
    version = envelope.version or 0
    known = stock.level.known or isinstance(body, (StockReceived, StockAdjusted, StockReturned))
    level = Level(body.on_hand, body.reserved, version, known)
    if isinstance(body, StockReturned) and stock.hold is not None:
        returned = (*stock.hold.returned, (body.number or 0, body.quantity))
        return Stock(level, replace(stock.hold, returned=returned, version=version))
    status = _STATUS_AFTER.get(type(body))
    if status is None:
        return Stock(level, stock.hold)
    reason = getattr(body, "reason", None)
    if stock.hold is None:
        held_at = envelope.recorded_at if status is HoldStatus.HELD else None
        return Stock(level, Hold(body.quantity, status, reason, envelope.causation_id, version, held_at=held_at))
    return Stock(level, replace(stock.hold, status=status, reason=reason, version=version, held_at=None))


_STATUS_AFTER = {
    StockReserved: HoldStatus.HELD,
    ReservationReleased: HoldStatus.RELEASED,
    StockShipped: HoldStatus.SHIPPED,
    ReservationRefused: HoldStatus.REFUSED,
    ReservationFenced: HoldStatus.FENCED,
}


def _reserve(stock: Stock, command: ReserveStock) -> Decision:
    level, hold = stock.level, stock.hold
    if hold is not None:
        return answer_from(hold)
    order_id, line, quantity = command.order_id, command.line, command.quantity
    reason = None
    if not 1 <= quantity <= RESERVED_QUANTITY_MAX:
        reason = INVALID_QUANTITY
    elif not level.known:
        reason = UNKNOWN_SKU
    elif quantity > level.available:
        reason = INSUFFICIENT_STOCK
    if reason is not None:
        refused = ReservationRefused(order_id, line, quantity, reason, level.on_hand, level.reserved)
        return Decision((refused,), Outcome.REFUSED, reason)
    return _done(StockReserved(order_id, line, quantity, level.on_hand, level.reserved + quantity))


def answer_from(hold: Hold) -> Decision:
    """A reservation of a line that was decided before: the same answer, or that its time is over."""
    match hold.status:
        case HoldStatus.HELD | HoldStatus.SHIPPED:
            return _done()
        case HoldStatus.RELEASED:
            return _refused(ALREADY_RELEASED)
        case HoldStatus.REFUSED | HoldStatus.FENCED:
            return _refused(hold.reason or NOT_HELD)


def _release(stock: Stock, command: ReleaseStock) -> Decision:
    level, hold = stock.level, stock.hold
    if hold is None:
        # The reservation may still be on its way: this row will refuse it.
        return _done(
            ReservationFenced(
                command.order_id, command.line, 0, RELEASED_BEFORE_RESERVED, level.on_hand, level.reserved
            )
        )
    if hold.status is HoldStatus.SHIPPED:
        return _refused(ALREADY_SHIPPED)
    if hold.status is not HoldStatus.HELD:
        return _done()
    reserved = level.reserved - hold.quantity
    return _done(ReservationReleased(command.order_id, command.line, hold.quantity, level.on_hand, reserved))


def _ship(stock: Stock, command: ShipStock) -> Decision:
    level, hold = stock.level, stock.hold
    if hold is None or hold.status not in (HoldStatus.HELD, HoldStatus.SHIPPED):
        return _refused(NOT_HELD)
    if hold.status is HoldStatus.SHIPPED:
        return _done()
    on_hand = level.on_hand
    found: tuple[StockAdjusted, ...] = ()
    if on_hand < hold.quantity:
        # A shortage cannot stop goods that leave the house: they were there, so the count was wrong, and an event says so.
        on_hand = hold.quantity
        found = (StockAdjusted(on_hand - level.on_hand, SHIPPED_DESPITE_SHORTAGE, on_hand, level.reserved),)
    on_hand, reserved = on_hand - hold.quantity, level.reserved - hold.quantity
    return _done(*found, StockShipped(command.order_id, command.line, hold.quantity, on_hand, reserved))


def _return(stock: Stock, command: ReturnStock) -> Decision:
    level, hold = stock.level, stock.hold
    if hold is None or hold.status is not HoldStatus.SHIPPED:
        return _refused(NOT_SHIPPED)
    if command.number in dict(hold.returned):
        return _done()
    if command.quantity < 1:
        return _refused(INVALID_QUANTITY)
    if command.quantity > hold.quantity - sum(units for _, units in hold.returned):
        return _refused(RETURNED_TOO_MUCH)
    on_hand = level.on_hand + command.quantity
    told = (command.order_id, command.line, command.quantity, RETURNED)
    return _done(StockReturned(*told, on_hand, level.reserved, command.number))


def _receive(level: Level, command: ReceiveStock) -> Decision:
    on_hand = level.on_hand + command.quantity
    if not 1 <= command.quantity <= MOVED_QUANTITY_MAX or on_hand > ON_HAND_MAX:
        return _refused(INVALID_QUANTITY)
    return _done(StockReceived(command.quantity, command.reason, on_hand, level.reserved))


def _adjust(level: Level, command: AdjustStock) -> Decision:
    on_hand = level.on_hand + command.quantity
    if command.quantity == 0 or abs(command.quantity) > MOVED_QUANTITY_MAX or on_hand > ON_HAND_MAX:
        return _refused(INVALID_QUANTITY)
    if on_hand < 0:
        return _refused(BELOW_ZERO)
    adjusted = StockAdjusted(command.quantity, command.reason, on_hand, level.reserved)
    if on_hand >= level.reserved:
        return _done(adjusted)
    return _done(adjusted, StockShortage(level.reserved - on_hand, on_hand, level.reserved))


def _done(*events: Any) -> Decision:
    return Decision(events, Outcome.DONE)


def _refused(reason: str) -> Decision:
    return Decision((), Outcome.REFUSED, reason)
