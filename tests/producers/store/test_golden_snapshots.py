"""Golden snapshots: what a head row ever held reads for ever, in each of its forms."""

from __future__ import annotations

from typing import Any

import pytest

from producers.orders.aggregate import ORDERS, Order
from producers.payments.aggregate import Payment, payment_aggregate
from producers.store.deciding import Aggregate
from producers.wallets.aggregate import WALLETS, Wallet
from schemas.messages import OrderLine

PAYMENTS = payment_aggregate("o1")
_ORDER = {
    "status": "SHIPPED",
    "reason": None,
    "customer_id": "17850",
    "currency": "GBP",
    "total_minor": 1530,
    "lines": [[1, "85123A", 6, 255]],
}
_PAYMENT = {"status": "CAPTURED", "amount_minor": 1530, "currency": "GBP", "reference": "tok_ok", "reason": None}
ORDER = Order("SHIPPED", None, "17850", "GBP", 1530, (OrderLine(1, "85123A", 6, 255),), "card")
PAYMENT = Payment("CAPTURED", 1530, "GBP", "tok_ok")

# Kept for ever: a form is added, never changed.
GOLDEN: list[tuple[Aggregate[Any], int, dict[str, Any], Any]] = [
    (ORDERS, 1, _ORDER, ORDER),
    (ORDERS, 2, {**_ORDER, "payment_method": "card"}, ORDER),
    (ORDERS, 3, {**_ORDER, "payment_method": "card", "returned": []}, ORDER),
    (PAYMENTS, 1, _PAYMENT, PAYMENT),
    (PAYMENTS, 2, {**_PAYMENT, "refunds": [[1, 255]]}, Payment("CAPTURED", 1530, "GBP", "tok_ok", None, ((1, 255),))),
    (WALLETS, 1, {"balance_minor": 1530, "currency": "GBP"}, Wallet(1530, "GBP")),
]


@pytest.mark.parametrize(("aggregate", "form", "kept", "state"), GOLDEN)
def test_a_snapshot_of_every_form_reads_as_the_state(
    aggregate: Aggregate[Any], form: int, kept: dict[str, Any], state: Any
) -> None:
    assert aggregate.form.load(kept, form) == state


@pytest.mark.parametrize("aggregate", [ORDERS, PAYMENTS, WALLETS])
def test_every_form_has_a_golden_snapshot_and_the_newest_is_written_as_its_own(aggregate: Aggregate[Any]) -> None:
    forms = [entry for entry in GOLDEN if entry[0] is aggregate]
    assert [form for _, form, _, _ in forms] == list(range(1, aggregate.form.version + 1))
    _, _, kept, state = forms[-1]
    assert aggregate.form.to_json(state) == kept


@pytest.mark.parametrize("aggregate", [ORDERS, PAYMENTS, WALLETS])
def test_a_step_leads_on_from_every_earlier_form(aggregate: Aggregate[Any]) -> None:
    assert sorted(aggregate.form.upcasters) == list(range(1, aggregate.form.version))
