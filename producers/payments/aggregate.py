"""The payment of an order: what was asked of the provider, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from producers.store.deciding import Accepted, Aggregate, Decision, Postponed, Refused
from producers.store.snapshots import SnapshotForm
from schemas.messages import (
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

REQUESTED, AUTHORISED, DECLINED = "REQUESTED", "AUTHORISED", "DECLINED"
CAPTURED, VOIDED, REFUNDED = "CAPTURED", "VOIDED", "REFUNDED"

# What a provider says of a part that it gave back; of one that it did not it tells the payment's status.
PART_REFUNDED = "PART_REFUNDED"

# Calls of the provider that a decision waits for.
AUTHORISE, CAPTURE, GIVE_BACK, REFUND = "AUTHORISE", "CAPTURE", "GIVE_BACK", "REFUND"

# Reasons of refusals; a wrong status is told as e.g. PAYMENT_IS_VOIDED.
PAYMENT_DECLINED = "PAYMENT_DECLINED"
UNKNOWN_PAYMENT = "UNKNOWN_PAYMENT"
REFUNDED_TOO_MUCH = "REFUNDED_TOO_MUCH"
INVALID_AMOUNT = "INVALID_AMOUNT"

WALLET = "wallet"
# The reference of a payment from a wallet is this and the wallet's id; no card may go by such a name.
WALLET_PREFIX = "wallet/"


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment's state; `status` is None before it was asked for. Money in minor units of `currency`.

    `refunds` are the parts that went back: (number of the return, amount). REFUNDED once nothing is left.
    """

    status: str | None = None
    amount_minor: int = 0
    currency: str = ""
    reference: str = ""
    reason: str | None = None
    refunds: tuple[tuple[int, int], ...] = ()

    @property
    def left_minor(self) -> int:
        """What was not given back yet."""
        return self.amount_minor - sum(amount for _, amount in self.refunds)


@dataclass(frozen=True, slots=True)
class ProviderResult:
    """What the provider says of a payment now: one of the words above, with its reason if it declined."""

    status: str
    reason: str | None = None


initial = Payment()


def decide(payment: Payment, command: Any, payment_id: str) -> Decision:
    """The events of a command, the reason why it may not be, or the call of the provider that it needs first.

    `payment_id` is the order's id, which every event of a payment repeats.
    """
    match command:
        case AuthorisePayment():
            return _authorise(payment, command, payment_id)
        case CapturePayment():
            if payment.status is None:
                return Refused(UNKNOWN_PAYMENT)
            if payment.status == CAPTURED:
                return Accepted()
            return Postponed(CAPTURE) if payment.status == AUTHORISED else _wrong(payment)
        case VoidPayment(reason):
            if payment.status is None:
                # A fence: an authorisation that comes after it finds the payment voided.
                return Accepted((PaymentVoided(payment_id, 0, "", "", reason),))
            if payment.status in (DECLINED, VOIDED, REFUNDED):
                return Accepted()
            return Postponed(GIVE_BACK)
        case RefundPayment():
            return _refund(payment, command)
    raise TypeError(f"{type(command).__name__} is no command of a payment")


def decide_result(payment: Payment, result: ProviderResult, reason: str, payment_id: str) -> tuple[Any, ...]:
    """The events that bring our books to what the provider says; none where they are there already.

    `reason` is why money was given back, where the provider says that it was.
    """
    if result.status == payment.status or payment.status in (None, DECLINED, VOIDED, REFUNDED):
        return ()
    told = (payment_id, payment.amount_minor, payment.currency, payment.reference)
    authorised = () if payment.status != REQUESTED else (PaymentAuthorised(*told),)
    captured = () if payment.status == CAPTURED else (*authorised, PaymentCaptured(*told))
    match result.status:
        case "AUTHORISED":
            return authorised
        case "DECLINED" if payment.status == REQUESTED:
            return (PaymentDeclined(*told, result.reason or PAYMENT_DECLINED),)
        case "CAPTURED":
            return captured
        case "VOIDED":
            return (PaymentVoided(*told, reason),)
        case "REFUNDED":
            left = (payment_id, payment.left_minor, payment.currency, payment.reference)
            return (*captured, PaymentRefunded(*left, reason))
    raise ValueError(f"the provider says {result.status} of a payment that is {payment.status}")


def decide_refund(
    payment: Payment, result: ProviderResult, command: RefundPayment, payment_id: str
) -> tuple[PaymentRefunded, ...]:
    """The event of a part that the provider gave back; none where it did not, or where our books have it already."""
    if result.status != PART_REFUNDED or decide(payment, command, payment_id) != Postponed(REFUND):
        return ()
    told = (payment_id, command.amount_minor, payment.currency, payment.reference)
    return (PaymentRefunded(*told, command.reason, command.number),)


def pay_from_wallet(payment: Payment, payment_id: str, customer_id: str, amount: tuple[int, str]) -> Decision:
    """The payment's part of a debit of `amount` (minor units, currency), made in the transaction of the debit."""
    if payment.status is not None:
        return _wrong(payment)
    told = (payment_id, *amount, WALLET_PREFIX + customer_id)
    return Accepted((PaymentRequested(*told), PaymentCaptured(*told)))


def give_back_to_wallet(
    payment: Payment, payment_id: str, command: VoidPayment | RefundPayment
) -> tuple[str, PaymentRefunded] | None:
    """Whose wallet gets its money back, and the event that says so; None where no wallet paid."""
    if payment.status != CAPTURED or not payment.reference.startswith(WALLET_PREFIX):
        return None
    customer_id = payment.reference.removeprefix(WALLET_PREFIX)
    if isinstance(command, RefundPayment):
        told = (payment_id, command.amount_minor, payment.currency, payment.reference)
        return customer_id, PaymentRefunded(*told, command.reason, command.number)
    left = (payment_id, payment.left_minor, payment.currency, payment.reference)
    return customer_id, PaymentRefunded(*left, command.reason)


def evolve(payment: Payment, event: Any) -> Payment:
    """The state after `event`."""
    match event:
        case PaymentRequested():
            return Payment(REQUESTED, event.amount_minor, event.currency, event.reference)
        case PaymentAuthorised():
            return replace(payment, status=AUTHORISED)
        case PaymentDeclined():
            return replace(payment, status=DECLINED, reason=event.reason)
        case PaymentCaptured():
            return replace(payment, status=CAPTURED)
        case PaymentVoided():
            return replace(payment, status=VOIDED, reason=event.reason)
        case PaymentRefunded(number=None):
            return replace(payment, status=REFUNDED, reason=event.reason)
        case PaymentRefunded(number=number, amount_minor=amount_minor):
            after = replace(payment, refunds=(*payment.refunds, (number or 0, amount_minor)))
            return after if after.left_minor else replace(after, status=REFUNDED, reason=event.reason)
    return payment


def _authorise(payment: Payment, command: AuthorisePayment, payment_id: str) -> Decision:
    if payment.status in (AUTHORISED, CAPTURED):
        return Accepted()
    if payment.status == REQUESTED:
        return Postponed(AUTHORISE)
    if payment.status is not None:
        return Refused(
            payment.reason if payment.status == DECLINED and payment.reason else f"PAYMENT_IS_{payment.status}"
        )
    if command.method == WALLET:
        # Nobody is asked: the wallet pays in the transaction that confirms the order (`pay_from_wallet`).
        return Accepted()
    told = (payment_id, command.amount_minor, command.currency, command.reference)
    if command.reference.startswith(WALLET_PREFIX):
        # Giving it back would fill a wallet that never paid.
        return Refused(PAYMENT_DECLINED, (PaymentRequested(*told), PaymentDeclined(*told, PAYMENT_DECLINED)))
    return Postponed(AUTHORISE, (PaymentRequested(*told),))


def _refund(payment: Payment, command: RefundPayment) -> Decision:
    if command.number in dict(payment.refunds):
        return Accepted()
    if payment.status is None:
        return Refused(UNKNOWN_PAYMENT)
    if payment.status != CAPTURED:
        return _wrong(payment)
    if command.amount_minor < 1:
        return Refused(INVALID_AMOUNT)
    return Refused(REFUNDED_TOO_MUCH) if command.amount_minor > payment.left_minor else Postponed(REFUND)


def _wrong(payment: Payment) -> Decision:
    return Refused(f"PAYMENT_IS_{payment.status}")


def _to_json(payment: Payment) -> dict[str, Any]:
    return {
        "status": payment.status,
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "reference": payment.reference,
        "reason": payment.reason,
        "refunds": [list(entry) for entry in payment.refunds],
    }


def _from_json(kept: dict[str, Any]) -> Payment:
    return Payment(**{**kept, "refunds": tuple((number, amount) for number, amount in kept["refunds"])})


def _without_refunds(kept: dict[str, Any]) -> dict[str, Any]:
    # Before form 2 money was given back as a whole or not at all.
    return {**kept, "refunds": []}


_FORM = SnapshotForm(version=2, to_json=_to_json, from_json=_from_json, upcasters={1: _without_refunds})


def payment_aggregate(payment_id: str) -> Aggregate[Payment]:
    """The aggregate of the payment of one order."""
    return Aggregate(
        aggregatetype="payments",
        source="/tally/payments",
        initial=initial,
        decide=partial(decide, payment_id=payment_id),
        evolve=evolve,
        form=_FORM,
    )
