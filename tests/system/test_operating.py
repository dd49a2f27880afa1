"""What an operator sees and does, through every hop: dead letters that wait, sagas with their timelines, replays."""

from __future__ import annotations

import json
import uuid
from getpass import getuser
from typing import Any

from running_system import Running, order, wait_for


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def letters(running: Running, key: str) -> list[dict[str, Any]]:
    with running.client() as client:
        answer = client.get("/dead-letters", params={"key": key})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_records_of_every_owner_wait_are_redriven_in_vain_and_discarded_with_a_reason(running: Running) -> None:
    key = f"poison-{uuid.uuid4().hex[:8]}"
    for topic in ("orders.commands", "payments.commands", "sagas.replies", "inventory.commands"):
        running.produce(topic, key.encode(), b"not avro at all")
    running.produce("sagas.replies", key.encode(), b"nor is this")
    wait_for(lambda: len(letters(running, key)) == 5, 30, "a letter of each record")
    states = [(letter["origin"], letter["state"]) for letter in letters(running, key)]
    assert ("sink-orders", "FAILED") in states
    assert ("worker/orchestrate_orders", "WAITING") in states
    left = lines(running.tally("dead-letters", "redrive", "--key", key, "-f", "jsonl", expect=5))
    assert {row["attempts"] for row in left if row["state"] == "FAILED"} == {2}
    shown = json.loads(running.tally("dead-letters", "show", left[0]["id"], "-f", "json"))
    assert len(shown["history"]) == 2
    assert "Undecodable" in shown["stack"]
    running.tally("dead-letters", "discard", "--key", key, "--reason", "a test's own")
    assert letters(running, key) == []
    wait_for(
        lambda: {"sink-orders", "worker"} <= acted(running, key), 20, "the audit trail has the discard of each owner"
    )


def acted(running: Running, key: str) -> set[str]:
    """Who has discarded letters of a key, as the audit trail tells."""
    read = lines(running.tally("consume", "audit-trail", "-o", "beginning", "-e", "-k", key, "-f", "jsonl"))
    return {row["data"]["origin"] for row in read if row["data"]["act"] == "DISCARD" and row["data"]["done"]}


def test_a_saga_has_a_timeline_and_takes_a_remark_over_http(running: Running) -> None:
    sku = f"timeline-{uuid.uuid4().hex[:8]}"
    running.receive(sku, 10)
    with running.client() as client:
        body, key = order((sku, 3), (sku, 2)), {"Idempotency-Key": uuid.uuid4().hex}
        order_id = client.post("/orders", json=body, headers=key).json()["order_id"]
        running.wait_status(order_id, "CONFIRMED")
        wait_for(lambda: client.get(f"/sagas/{order_id}").json()["state"] == "CONFIRMED", 20, "the saga ends")
        remark = {"act": "ANNOTATE", "by": "ann", "reason": "called the customer"}
        answer = client.post(f"/sagas/{order_id}/acts", json=remark, headers={"Idempotency-Key": uuid.uuid4().hex})
        assert answer.status_code == 202, answer.text
        assert order_id in [saga["order_id"] for saga in client.get("/sagas?state=confirmed&limit=500").json()["items"]]

    def timeline() -> list[dict[str, Any]]:
        return lines(running.tally("sagas", "timeline", order_id, "-f", "jsonl"))

    wait_for(lambda: "SAGA_ACTED" in [row["type"] for row in timeline()], 20, "the remark stands in its history")
    rows = timeline()
    with running.client() as client:
        # Whoever looks later may see more of it.
        assert client.get(f"/sagas/{order_id}/timeline").json()[: len(rows)] == rows
    types = [row["type"] for row in rows]
    assert types.count("RESERVE_STOCK") == types.count("STOCK_RESERVED") == 2
    assert {"ORDER_CREATED", "AUTHORISE_PAYMENT", "COMMAND_ANSWERED", "ORDER_CONFIRMED", "SAGA_ENDED"} <= set(types)
    assert all(row["offset"] is not None and row["timestamp"] for row in rows)
    assert {row["attempt"] for row in rows if row["topic"].endswith(".commands")} == {1}
    trail = lines(running.tally("consume", "audit-trail", "-o", "beginning", "-e", "-k", order_id, "-f", "jsonl"))
    assert [(row["data"]["by"], row["data"]["reason"]) for row in trail] == [("ann", "called the customer")]
    shown = lines(running.tally("sagas", "list", "--state", "confirmed", "-n", "500", "-f", "jsonl"))
    assert order_id in [row["order_id"] for row in shown]


def test_commands_replayed_into_the_live_system_count_once_and_the_audit_trail_says_who_did_it(
    running: Running,
) -> None:
    sku, id_ = f"replayed-{uuid.uuid4().hex[:8]}", f"replay-{uuid.uuid4().hex[:8]}"
    running.receive(sku, 5)
    running.tally("replay", "run", "inventory.commands", "-k", sku, "--into", f"topic:{id_}", "--yes")
    back = ["replay", "run", id_, "--into", "topic:inventory.commands", "--type", "RECEIVE_STOCK", "--yes"]
    running.tally(*back, expect=2)
    running.tally(*back, "--side-effects", "inventory.commands", "--id", id_, "--reason", "they may have been lost")
    # Answered behind the replayed one, in whose partition it stands.
    running.receive(sku, 1)
    commands = lines(running.tally("consume", "inventory.commands", "-o", "beginning", "-e", "-k", sku, "-f", "jsonl"))
    assert [row["data"]["quantity"] for row in commands] == [5, 5, 1]
    assert commands[0]["id"] == commands[1]["id"]
    with running.client() as client:
        assert client.get(f"/stock/{sku}").json()["on_hand"] == 6
    trail = lines(running.tally("consume", "audit-trail", "-o", "beginning", "-e", "-k", id_, "-f", "jsonl"))
    assert [(row["type"], row["data"]) for row in trail] == [
        (
            "REPLAY_ACTED",
            {
                "act": "START",
                "by": getuser(),
                "reason": "they may have been lost",
                "topics": id_,
                "into": "topic:inventory.commands",
            },
        )
    ]
