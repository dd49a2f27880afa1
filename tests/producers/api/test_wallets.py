"""`/wallets` over a real payments database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from producers.store.connections import Pool
from producers.store.postgres import PostgresEventStore
from producers.wallets.service import WalletService
from schemas.codec import AvroCodec
from tally.local.databases import ServiceDatabase

CREDIT = {"amount_minor": 1000, "currency": "GBP"}


@pytest.fixture
def wallets(api: Any, payments_pool: Pool) -> Any:
    """The API with wallets."""
    state = api.client.app.state
    state.parts = replace(state.parts, wallets=WalletService(PostgresEventStore(payments_pool, AvroCodec())))
    return api


def test_a_credit_shows_in_the_balance_and_a_repeat_of_it_does_not(wallets: Any) -> None:
    key = wallets.fresh_key()
    first = wallets.client.post("/wallets/c1/credits", json=CREDIT, headers=key)
    assert (first.status_code, first.json()) == (201, {"balance_minor": 1000, "currency": "GBP", "version": 1})
    assert first.headers["Consistency-Token"] == "wallets/c1@1"
    assert wallets.client.post("/wallets/c1/credits", json=CREDIT, headers=key).json() == first.json()
    wallets.client.post("/wallets/c1/credits", json=CREDIT, headers=wallets.fresh_key())
    assert wallets.client.get("/wallets/c1").json() == {"balance_minor": 2000, "currency": "GBP", "version": 2}


def test_a_wallet_that_nobody_credited_is_404(wallets: Any) -> None:
    answer = wallets.client.get("/wallets/nobody")
    assert (answer.status_code, answer.json()["type"]) == (404, "wallet-not-found")


@pytest.mark.parametrize("wrong", [{"amount_minor": 0}, {"amount_minor": "5"}, {"currency": "pounds"}, {"more": 1}])
def test_a_wrong_credit_is_422_and_writes_nothing(wallets: Any, wrong: dict[str, Any]) -> None:
    answer = wallets.client.post("/wallets/c1/credits", json={**CREDIT, **wrong}, headers=wallets.fresh_key())
    assert answer.status_code == 422
    assert wallets.client.get("/wallets/c1").status_code == 404


def test_a_credit_without_a_key_is_400_and_one_in_another_currency_409(wallets: Any) -> None:
    assert wallets.client.post("/wallets/c1/credits", json=CREDIT).status_code == 400
    wallets.client.post("/wallets/c1/credits", json=CREDIT, headers=wallets.fresh_key())
    other = {**CREDIT, "currency": "EUR"}
    answer = wallets.client.post("/wallets/c1/credits", json=other, headers=wallets.fresh_key())
    assert (answer.status_code, answer.json()["reason"]) == (409, "WRONG_CURRENCY")


def test_a_wallet_held_by_a_prepared_transaction_is_409_with_retry_after(
    wallets: Any, payments_database: ServiceDatabase
) -> None:
    wallets.client.post("/wallets/c1/credits", json=CREDIT, headers=wallets.fresh_key())
    with psycopg.connect(payments_database.service_url, autocommit=True) as other:
        other.execute("begin")
        other.execute("update heads set version = version where aggregateid = 'c1'")
        other.execute("prepare transaction 'held-c1'")
        try:
            answer = wallets.client.post("/wallets/c1/credits", json=CREDIT, headers=wallets.fresh_key())
        finally:
            other.execute("rollback prepared 'held-c1'")
    assert (answer.status_code, answer.json()["type"]) == (409, "busy")
    assert int(answer.headers["Retry-After"]) >= 1
