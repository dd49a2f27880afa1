"""The audit of wallets finds each kind of fault that is planted in books that balance."""

from __future__ import annotations

from sound_books import Shop, shop

from schemas.messages import (
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    WalletCredited,
    WalletDebited,
    WalletRefunded,
)
from tally.audit.checks import check

LINE = (OrderLine(1, "sku", 2, 100),)
WALLET_CHECKS = {"wallet-adds-up", "wallet-is-fold", "wallet-pays-for-orders"}


def found(made: Shop) -> set[str]:
    return {finding.check for finding in check(made.books())} & WALLET_CHECKS


def paid() -> Shop:
    """A shop in which order w1 was confirmed and its wallet debited."""
    made = shop()
    made.write("wallets", "c1", 1, WalletCredited("c1", 500, "GBP", 500))
    made.write("orders", "w1", 1, OrderCreated("c1", "GBP", LINE, 200, "wallet", "w"))
    return made


def test_a_debit_of_a_confirmed_order_balances() -> None:
    made = paid()
    made.write("orders", "w1", 2, OrderConfirmed())
    made.write("wallets", "c1", 2, WalletDebited("c1", 200, "GBP", 300, "w1"))
    assert found(made) == set()


def test_a_confirmed_order_that_took_nothing_is_found() -> None:
    made = paid()
    made.write("orders", "w1", 2, OrderConfirmed())
    assert found(made) == {"wallet-pays-for-orders"}


def test_a_debit_of_an_order_that_was_not_confirmed_is_found_until_it_is_given_back() -> None:
    made = paid()
    made.write("wallets", "c1", 2, WalletDebited("c1", 200, "GBP", 300, "w1"))
    assert found(made) == {"wallet-pays-for-orders"}
    made.write("wallets", "c1", 3, WalletRefunded("c1", 200, "GBP", 500, "w1"))
    assert found(made) == set()


def test_a_balance_that_its_movements_do_not_add_up_to_is_found() -> None:
    made = paid()
    made.write("wallets", "c1", 2, WalletCredited("c1", 100, "GBP", 700))
    assert "wallet-adds-up" in found(made)
