"""A wallet's part of an order, inside a transaction on the payments database: debit and payment, or refund of both."""

from __future__ import annotations

from datetime import datetime

from producers.payments.aggregate import give_back_to_wallet, pay_from_wallet, payment_aggregate
from producers.store.deciding import Refused, finish, load, record, restamp
from producers.store.port import OUTCOME_DONE, Answer
from producers.store.postgres import PostgresUnit
from producers.wallets.aggregate import WALLETS, DebitWallet, RefundWallet
from schemas.envelope import Message
from schemas.messages import RefundPayment, VoidPayment

# Waited for, not tried: who comes second to one wallet decides on what the first left, rather than meet a conflict.
_LOCK = "select 1 from heads where aggregatetype = 'wallets' and aggregateid = %s for no key update"

_GIVES_BACK = (VoidPayment, RefundPayment)


def debit(unit: PostgresUnit, debit_: DebitWallet, cause: Message) -> str | None:
    """Takes the money and records the payment of the order; the reason where it may not be, nothing written then.

    `cause` is the confirmation, stamped with the time of handling. Raises Conflict, LockNotAvailable.
    """
    unit.connection.execute(_LOCK, (debit_.customer_id,))
    wallet = load(unit, WALLETS, debit_.customer_id)
    aggregate = payment_aggregate(debit_.order_id)
    payment = load(unit, aggregate, debit_.order_id)
    amount = (debit_.amount_minor, debit_.currency)
    paid = pay_from_wallet(payment.state, debit_.order_id, debit_.customer_id, amount)
    debited = WALLETS.decide(wallet.state, debit_)
    for decision in (paid, debited):
        if isinstance(decision, Refused):
            return decision.reason
    # Ids follow from cause and version: those of wallet, payment and order would be the same without the part's name.
    record(unit, WALLETS, wallet, debited.events, cause, "wallet")
    record(unit, aggregate, payment, paid.events, cause, "payment")
    return None


def give_back(unit: PostgresUnit, command: Message, clock: datetime) -> bool:
    """Gives a wallet back what it paid, or a part of it, and answers; False where no wallet paid, or none is to pay back."""
    payment_id = command.envelope.subject
    aggregate = payment_aggregate(payment_id)
    payment = load(unit, aggregate, payment_id)
    body = command.body
    found = give_back_to_wallet(payment.state, payment_id, body) if isinstance(body, _GIVES_BACK) else None
    if found is None:
        return False
    customer_id, refunded = found
    stamped = restamp(command, clock)
    unit.connection.execute(_LOCK, (customer_id,))
    wallet = load(unit, WALLETS, customer_id)
    refund = RefundWallet(customer_id, refunded.amount_minor, refunded.currency, payment_id)
    record(unit, WALLETS, wallet, WALLETS.decide(wallet.state, refund).events, stamped, "wallet")
    events = record(unit, aggregate, payment, (refunded,), stamped, "payment")
    answer = Answer(
        outcome=OUTCOME_DONE,
        version=payment.head.version + len(events),
        events=tuple(event.envelope.id for event in events),
        aggregate=payment.head.name,
    )
    finish(unit, stamped, answer, aggregate.source)
    return True
