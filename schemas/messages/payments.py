"""Messages of the payment aggregate; its id is the id of its order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuthorisePayment:
    """`method` is "card" or "wallet"; `reference` is what the provider knows the means of payment by."""

    amount_minor: int
    currency: str
    method: str
    reference: str


@dataclass(frozen=True, slots=True)
class CapturePayment:
    pass


@dataclass(frozen=True, slots=True)
class VoidPayment:
    """Give the money back: voids an authorisation, refunds a capture."""

    reason: str


@dataclass(frozen=True, slots=True)
class RefundPayment:
    """Give a part of captured money back; each `number` (of an order's return) is paid back once."""

    amount_minor: int
    reason: str
    number: int


@dataclass(frozen=True, slots=True)
class PaymentRequested:
    order_id: str
    amount_minor: int
    currency: str
    reference: str


@dataclass(frozen=True, slots=True)
class PaymentAuthorised:
    order_id: str
    amount_minor: int
    currency: str
    reference: str


@dataclass(frozen=True, slots=True)
class PaymentDeclined:
    order_id: str
    amount_minor: int
    currency: str
    reference: str
    reason: str


@dataclass(frozen=True, slots=True)
class PaymentCaptured:
    order_id: str
    amount_minor: int
    currency: str
    reference: str


@dataclass(frozen=True, slots=True)
class PaymentVoided:
    order_id: str
    amount_minor: int
    currency: str
    reference: str
    reason: str


@dataclass(frozen=True, slots=True)
class PaymentRefunded:
    """`number` is the return of the order that is paid back; None where all that was left is given back."""

    order_id: str
    amount_minor: int
    currency: str
    reference: str
    reason: str
    number: int | None = None
