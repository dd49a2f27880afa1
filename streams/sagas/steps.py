"""The order saga as data: its steps, their kinds, commands, deadlines and compensations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from schemas.messages import (
    AuthorisePayment,
    CapturePayment,
    ConfirmOrder,
    RejectOrder,
    ReleaseStock,
    ReserveStock,
    SagaLine,
    ShipStock,
    VoidPayment,
    wire_type,
)
from schemas.topics import INVENTORY_COMMANDS, ORDERS_COMMANDS, PAYMENTS_COMMANDS
from streams.sagas.state import OrderSaga

TIMED_OUT = "TIMED_OUT"
STEP_TIMEOUT = timedelta(seconds=10)
ORDER_TIMEOUT = timedelta(seconds=60)
# What cannot be given up is asked for again, at twice the distance each time, up to this.
RETRY_TIMEOUT_MAX = timedelta(seconds=300)


class Kind(StrEnum):
    """What may happen to a step (Garcia-Molina and Salem 1987; Richardson's words)."""

    COMPENSATABLE = "COMPENSATABLE"
    PIVOT = "PIVOT"
    RETRIABLE = "RETRIABLE"
    COMPENSATION = "COMPENSATION"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `command` makes its command, once per order line where it fans out (by SKU), else once (line None)."""

    name: str
    kind: Kind
    topic: str
    aggregatetype: str
    command_class: type
    command: Callable[[OrderSaga, SagaLine | None], Any]
    fans_out: bool = False
    compensation: str | None = None

    @property
    def command_type(self) -> str:
        """Wire type of its command."""
        return wire_type(self.command_class)


def _reserve(saga: OrderSaga, line: SagaLine | None) -> ReserveStock:
    assert line is not None
    return ReserveStock(saga.order_id, line.line, line.quantity)


def _authorise(saga: OrderSaga, _: SagaLine | None) -> AuthorisePayment:
    return AuthorisePayment(saga.total_minor, saga.currency, saga.payment_method, saga.payment_reference)


def _release(saga: OrderSaga, line: SagaLine | None) -> ReleaseStock:
    assert line is not None
    return ReleaseStock(saga.order_id, line.line)


def _ship(saga: OrderSaga, line: SagaLine | None) -> ShipStock:
    assert line is not None
    return ShipStock(saga.order_id, line.line)


_C, _R, _U = Kind.COMPENSATABLE, Kind.RETRIABLE, Kind.COMPENSATION
_STOCK, _PAYMENT, _ORDER = (
    (INVENTORY_COMMANDS, "inventory"),
    (PAYMENTS_COMMANDS, "payments"),
    (ORDERS_COMMANDS, "orders"),
)

# In the order in which they are taken. Capture follows the pivot: a failed capture is asked for again, never undone.
STEPS = (
    Step("reserve", _C, *_STOCK, ReserveStock, _reserve, fans_out=True, compensation="release"),
    Step("authorise", _C, *_PAYMENT, AuthorisePayment, _authorise, compensation="void"),
    Step("confirm", Kind.PIVOT, *_ORDER, ConfirmOrder, lambda saga, _: ConfirmOrder()),
    Step("capture", _R, *_PAYMENT, CapturePayment, lambda saga, _: CapturePayment(), compensation="void"),
)
# After the end: the goods leave.
SHIP = Step("ship", _R, *_STOCK, ShipStock, _ship, fans_out=True)
# In reverse order of the steps. All are sent at once: each is fenced at its participant and none looks at another,
# and an order whose payment provider is silent is rejected in time all the same.
COMPENSATIONS = (
    Step("void", _U, *_PAYMENT, VoidPayment, lambda saga, _: VoidPayment(saga.reason or "")),
    Step("release", _U, *_STOCK, ReleaseStock, _release, fans_out=True),
    Step("reject", _U, *_ORDER, RejectOrder, lambda saga, _: RejectOrder(saga.reason or TIMED_OUT)),
)

STEP_BY_NAME = {step.name: step for step in (*STEPS, SHIP, *COMPENSATIONS)}
STEP_BY_COMMAND_TYPE = {step.command_type: step for step in STEP_BY_NAME.values()}


def timeout(step: Step, attempts: int) -> timedelta:
    """How long the answers of the next attempt may take; `attempts` were made before."""
    if step.kind is Kind.COMPENSATABLE:
        return STEP_TIMEOUT
    return min(STEP_TIMEOUT * 2 ** min(attempts, 16), RETRY_TIMEOUT_MAX)
