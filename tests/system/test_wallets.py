"""Orders paid from a wallet, through every hop: confirmed and debited, or rejected and released; kills between."""

from __future__ import annotations

import json
import uuid
from typing import Any

from running_system import Running, order, wait_for


def placed(running: Running, customer: str, quantity: int, sku: str) -> str:
    body = order((sku, quantity), customer=customer) | {"payment": {"method": "wallet", "reference": "mine"}}
    with running.client() as client:
        answer = client.post("/orders", json=body, headers={"Idempotency-Key": uuid.uuid4().hex})
    assert answer.status_code == 201, answer.text
    order_id: str = answer.json()["order_id"]
    return order_id


def wallet(running: Running, customer: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(running.tally("wallets", "show", customer, "-f", "json"))
    return found


def test_a_wallet_pays_what_it_can_is_given_back_what_was_cancelled_and_the_books_balance(running: Running) -> None:
    customer = f"w-{uuid.uuid4().hex[:8]}"
    running.receive("wallet-sku", 50)
    running.tally("wallets", "credit", customer, "--amount", "1000")
    first = placed(running, customer, 2, "wallet-sku")
    running.wait_status(first, "CONFIRMED")
    assert wallet(running, customer)["balance_minor"] == 1000 - 510
    second = placed(running, customer, 2, "wallet-sku")
    assert running.wait_status(second, "REJECTED")["reason"] == "INSUFFICIENT_FUNDS"
    with running.client() as client:
        client.post(f"/orders/{first}/cancel", headers={"Idempotency-Key": uuid.uuid4().hex})
    wait_for(lambda: wallet(running, customer)["balance_minor"] == 1000, 30, "the refund")
    running.kill("sink-orders")
    running.wait_status(placed(running, customer, 1, "wallet-sku"), "CONFIRMED", within_s=60)
    assert json.loads(running.tally("two-phase", "list", "-f", "json")) == []
    verdict = json.loads(running.tally("audit", "-f", "json"))
    assert verdict["ok"], verdict["findings"]
