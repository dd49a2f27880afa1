"""The rules of a wallet."""

from __future__ import annotations

from producers.testing import given
from producers.wallets.aggregate import WALLETS, CreditWallet, DebitWallet, RefundWallet
from schemas.messages import WalletCredited, WalletDebited, WalletRefunded

CREDITED = WalletCredited("c1", 1000, "GBP", 1000)


def test_a_first_credit_gives_the_wallet_its_currency() -> None:
    scenario = given(WALLETS).when(CreditWallet("c1", 1000, "GBP")).then(CREDITED)
    scenario.when(CreditWallet("c1", 1, "EUR")).then_refused("WRONG_CURRENCY")


def test_a_debit_takes_what_is_there_and_no_penny_more() -> None:
    debited = WalletDebited("c1", 1000, "GBP", 0, "o1")
    scenario = given(WALLETS, CREDITED).when(DebitWallet("c1", 1000, "GBP", "o1")).then(debited)
    scenario.when(DebitWallet("c1", 1, "GBP", "o2")).then_refused("INSUFFICIENT_FUNDS")


def test_a_wallet_that_was_never_credited_pays_nothing() -> None:
    given(WALLETS).when(DebitWallet("c1", 0, "GBP", "o1")).then_refused("INSUFFICIENT_FUNDS")


def test_money_in_another_currency_is_none() -> None:
    given(WALLETS, CREDITED).when(DebitWallet("c1", 1, "EUR", "o1")).then_refused("INSUFFICIENT_FUNDS")


def test_a_refund_gives_back_what_an_order_took() -> None:
    debited = WalletDebited("c1", 400, "GBP", 600, "o1")
    refund = RefundWallet("c1", 400, "GBP", "o1")
    given(WALLETS, CREDITED, debited).when(refund).then(WalletRefunded("c1", 400, "GBP", 1000, "o1"))
