"""The wallet of a customer: what came in, what orders took, what they gave back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from producers.store.deciding import Accepted, Aggregate, Decision, Refused
from producers.store.snapshots import SnapshotForm
from schemas.messages import WalletCredited, WalletDebited, WalletRefunded

INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
# A wallet has the currency of its first credit.
WRONG_CURRENCY = "WRONG_CURRENCY"
TOO_MUCH = "TOO_MUCH"
# Far beyond any customer's money, and far from the end of 64 bits.
BALANCE_MINOR_MAX = 10**15


@dataclass(frozen=True, slots=True)
class CreditWallet:
    """Money comes in."""

    customer_id: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class DebitWallet:
    """An order takes its total, if the wallet has it."""

    customer_id: str
    amount_minor: int
    currency: str
    order_id: str


@dataclass(frozen=True, slots=True)
class RefundWallet:
    """A cancelled order gives back what it took, one with returned lines a part; never refused."""

    customer_id: str
    amount_minor: int
    currency: str
    order_id: str


@dataclass(frozen=True, slots=True)
class Wallet:
    """A wallet's state; `currency` is empty before its first credit. Money in minor units."""

    balance_minor: int = 0
    currency: str = ""


initial = Wallet()


def decide(wallet: Wallet, command: Any) -> Decision:
    """The event of a command, or the reason why it may not be."""
    match command:
        case CreditWallet(customer_id, amount_minor, currency):
            if wallet.currency not in ("", currency):
                return Refused(WRONG_CURRENCY)
            after = wallet.balance_minor + amount_minor
            if after > BALANCE_MINOR_MAX:
                return Refused(TOO_MUCH)
            return Accepted((WalletCredited(customer_id, amount_minor, currency, after),))
        case DebitWallet(customer_id, amount_minor, currency, order_id):
            after = wallet.balance_minor - amount_minor
            if wallet.currency != currency or after < 0:
                return Refused(INSUFFICIENT_FUNDS)
            return Accepted((WalletDebited(customer_id, amount_minor, currency, after, order_id),))
        case RefundWallet(customer_id, amount_minor, currency, order_id):
            after = wallet.balance_minor + amount_minor
            return Accepted((WalletRefunded(customer_id, amount_minor, currency, after, order_id),))
    raise TypeError(f"{type(command).__name__} is no command of a wallet")


def evolve(wallet: Wallet, event: Any) -> Wallet:
    """The state after `event`; each states the balance that it leaves."""
    match event:
        case WalletCredited() | WalletDebited() | WalletRefunded():
            return Wallet(event.balance_minor, event.currency)
    return wallet


def _to_json(wallet: Wallet) -> dict[str, Any]:
    return {"balance_minor": wallet.balance_minor, "currency": wallet.currency}


def _from_json(kept: dict[str, Any]) -> Wallet:
    return Wallet(**kept)


WALLETS: Aggregate[Wallet] = Aggregate(
    aggregatetype="wallets",
    # Its rows leave through the outbox of payments, whose events the audit knows by their source.
    source="/tally/payments",
    initial=initial,
    decide=decide,
    evolve=evolve,
    form=SnapshotForm(version=1, to_json=_to_json, from_json=_from_json),
)
