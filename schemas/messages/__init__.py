"""Every message: one class each; on the wire `OrderCreated` is `ORDER_CREATED`."""

from __future__ import annotations

import re

from schemas.messages import customers, dead_letters, inventory, orders, payments, replays, sagas, two_phase, wallets
from schemas.messages.customers import CustomerChanged, CustomerErased, CustomerRegistered
from schemas.messages.dead_letters import ActOnDeadLetters, DeadLettered, DeadLettersActed
from schemas.messages.inventory import (
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
from schemas.messages.orders import (
    CancelOrder,
    ConfirmOrder,
    CreateOrder,
    LineToReturn,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    OrderLinesReturned,
    OrderListed,
    OrderRejected,
    OrderShipped,
    RejectOrder,
    ReturnedLine,
    ReturnOrderLines,
    ShipOrder,
)
from schemas.messages.payments import (
    AuthorisePayment,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequested,
    PaymentVoided,
    RefundPayment,
    VoidPayment,
)
from schemas.messages.replays import RebuildActed, ReplayActed
from schemas.messages.sagas import (
    ActOnSaga,
    AskAboutHold,
    AskStatus,
    CommandAnswered,
    DeadlinePassed,
    SagaActed,
    SagaCompensationStarted,
    SagaEnded,
    SagaLine,
    SagaLinesReturned,
    SagaRetryScheduled,
    SagaReturnedLine,
    SagaStarted,
    SagaStatusAsked,
    SagaStepAnswered,
    SagaStepStarted,
)
from schemas.messages.two_phase import TwoPhaseActed
from schemas.messages.wallets import WalletCredited, WalletDebited, WalletRefunded

# Parts of messages: they have a class but never travel alone.
PARTS: tuple[type, ...] = (OrderLine, ReturnedLine, LineToReturn, SagaLine, SagaReturnedLine)
GROUPS = (customers, orders, payments, wallets, inventory, sagas, dead_letters, two_phase, replays)

MESSAGES: dict[str, type] = {}


_WIRE_TYPES: dict[type, str] = {}


def wire_type(cls: type) -> str:
    """`OrderCreated` -> `ORDER_CREATED`."""
    # Asked for with every record: so each class is worked out once.
    found = _WIRE_TYPES.get(cls)
    if found is None:
        found = _WIRE_TYPES[cls] = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).upper()
    return found


for _group in GROUPS:
    for _cls in vars(_group).values():
        if isinstance(_cls, type) and _cls.__module__ == _group.__name__ and _cls not in PARTS:
            MESSAGES[wire_type(_cls)] = _cls


def class_of(type_: str) -> type | None:
    """The class of a wire type; None for one that is not ours."""
    return MESSAGES.get(type_)


__all__ = [
    "ActOnDeadLetters",
    "ActOnSaga",
    "AdjustStock",
    "AskAboutHold",
    "AskStatus",
    "AuthorisePayment",
    "CancelOrder",
    "CapturePayment",
    "CommandAnswered",
    "ConfirmOrder",
    "CreateOrder",
    "CustomerChanged",
    "CustomerErased",
    "CustomerRegistered",
    "DeadLettered",
    "DeadLettersActed",
    "DeadlinePassed",
    "LineToReturn",
    "MESSAGES",
    "OrderCancelled",
    "OrderConfirmed",
    "OrderCreated",
    "OrderLine",
    "OrderLinesReturned",
    "OrderListed",
    "OrderRejected",
    "OrderShipped",
    "PARTS",
    "PaymentAuthorised",
    "PaymentCaptured",
    "PaymentDeclined",
    "PaymentRefunded",
    "PaymentRequested",
    "PaymentVoided",
    "RebuildActed",
    "ReceiveStock",
    "RefundPayment",
    "RejectOrder",
    "ReleaseStock",
    "ReplayActed",
    "ReservationFenced",
    "ReservationRefused",
    "ReservationReleased",
    "ReserveStock",
    "ReturnOrderLines",
    "ReturnStock",
    "ReturnedLine",
    "SagaActed",
    "SagaCompensationStarted",
    "SagaEnded",
    "SagaLine",
    "SagaLinesReturned",
    "SagaRetryScheduled",
    "SagaReturnedLine",
    "SagaStarted",
    "SagaStatusAsked",
    "SagaStepAnswered",
    "SagaStepStarted",
    "ShipOrder",
    "ShipStock",
    "StockAdjusted",
    "StockReceived",
    "StockReserved",
    "StockReturned",
    "StockShipped",
    "StockShortage",
    "TwoPhaseActed",
    "VoidPayment",
    "WalletCredited",
    "WalletDebited",
    "WalletRefunded",
    "class_of",
    "wire_type",
]
