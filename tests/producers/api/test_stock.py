"""Stock by HTTP: commands to the inventory agent, answered within the wait or later."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.envelope import Message, body_hash
from schemas.messages import AdjustStock, ReceiveStock


@pytest.fixture
def agent(api: Any) -> dict[str, Any]:
    """The inventory agent: answers each command at once with what the dictionary says."""
    answer: dict[str, Any] = {"outcome": "DONE", "reason": None, "version": 7, "event_ids": ["e1"]}

    def handle(command: Message) -> None:
        row = {**answer, "sku": command.envelope.subject, "hash": body_hash(command)}
        api.workers.put("w0:1", "stock_commands", command.envelope.id, row)

    api.commands.agent = handle
    return answer


def test_a_receipt_is_answered_with_version_and_token(api: Any, agent: dict[str, Any]) -> None:
    response = api.client.post("/stock/85123A/receipts", json={"quantity": 10}, headers=api.fresh_key())
    assert (response.status_code, response.json()) == (200, {"sku": "85123A", "version": 7})
    assert response.headers["Consistency-Token"] == "inventory/85123A@7"
    [(topic, command)] = api.commands.sent
    assert (topic, command.envelope.subject, command.body) == ("inventory.commands", "85123A", ReceiveStock(10))


def test_an_adjustment_is_signed_and_has_a_reason(api: Any, agent: dict[str, Any]) -> None:
    body = {"quantity": -3, "reason": "BROKEN"}
    assert api.client.post("/stock/a/b/adjustments", json=body, headers=api.fresh_key()).status_code == 200
    assert api.commands.sent[0][1].body == AdjustStock(-3, "BROKEN")
    assert api.commands.sent[0][1].envelope.subject == "a/b"


def test_a_repeat_is_answered_without_a_second_command(api: Any, agent: dict[str, Any]) -> None:
    key = api.fresh_key()
    first = api.client.post("/stock/85123A/receipts", json={"quantity": 10}, headers=key)
    again = api.client.post("/stock/85123A/receipts", json={"quantity": 10}, headers=key)
    assert first.json() == again.json()
    assert len(api.commands.sent) == 1


def test_the_same_key_with_another_quantity_is_422(api: Any, agent: dict[str, Any]) -> None:
    key = api.fresh_key()
    api.client.post("/stock/85123A/receipts", json={"quantity": 10}, headers=key)
    other = api.client.post("/stock/85123A/receipts", json={"quantity": 11}, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "idempotency-key-reused")
    assert len(api.commands.sent) == 1


def test_an_answer_that_takes_longer_is_found_by_the_commands_id(api: Any, agent: dict[str, Any]) -> None:
    answers_at_once, api.commands.agent = api.commands.agent, lambda _: None
    headers = {**api.fresh_key(), "Prefer": "wait=0"}
    response = api.client.post("/stock/85123A/receipts", json={"quantity": 10}, headers=headers)
    location = response.headers["Location"]
    assert response.status_code == 202
    assert api.client.get(location).status_code == 404
    answers_at_once(api.commands.sent[0][1])
    command = api.client.get(location)
    assert command.json() == {"state": "DONE", "events": ["e1"], "token": "inventory/85123A@7", "refusal": None}


def test_a_command_waits_for_its_worker_without_being_sent_twice(api: Any, agent: dict[str, Any]) -> None:
    api.workers.away.add("w0:1")
    headers = {**api.fresh_key(), "Prefer": "wait=0"}
    assert api.client.post("/stock/85123A/receipts", json={"quantity": 1}, headers=headers).status_code == 202
    assert len(api.commands.sent) == 1


def test_a_refusal_is_409_with_its_reason(api: Any, agent: dict[str, Any]) -> None:
    agent.update(outcome="REFUSED", reason="EXPIRED", version=0)
    response = api.client.post("/stock/85123A/receipts", json={"quantity": 1}, headers=api.fresh_key())
    assert (response.status_code, response.json()["reason"]) == (409, "EXPIRED")


def test_stock_is_shown_with_its_token(api: Any) -> None:
    row = {"sku": "Łódź,1", "on_hand": 5, "reserved": 2, "available": 3, "version": 4}
    api.workers.put("w0:1", "stock", "Łódź,1", row)
    response = api.client.get("/stock/%C5%81%C3%B3d%C5%BA,1")
    assert response.json() == row
    token = response.headers["Consistency-Token"]
    assert "," not in token
    assert api.client.get("/stock/%C5%81%C3%B3d%C5%BA,1", headers={"Consistency-Token": token}).status_code == 200
