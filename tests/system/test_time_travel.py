"""The past of a running system: the rows of now are the newest of the past, and the difference says what came between."""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import quote

from running_system import Running, order, wait_for

from schemas.envelope import now, to_rfc3339


def test_the_newest_row_of_the_past_is_the_row_of_now_in_each_table(running: Running) -> None:
    sku = f"tt-{uuid.uuid4().hex[:6]}"
    running.receive(sku, 5)
    before = to_rfc3339(now())
    with running.client() as client:
        body = {**order((sku, 2)), "customer_id": f"c-{sku}"}
        order_id = client.post("/orders", json=body, headers={"Idempotency-Key": uuid.uuid4().hex}).json()["order_id"]
        running.wait_status(order_id, "CONFIRMED")

        def row(table: str, key: str, **asked: str) -> Any:
            answer = client.get(f"/tables/{table}/{quote(key, safe='')}", params=asked)
            return answer.json() if answer.status_code == 200 else {}

        def compare(table: str, key: str) -> None:
            wait_for(lambda: row(table, key).get("value", {}).get("version") == 2, 30, f"the row of {table}")
            assert row(table, key, at=to_rfc3339(now()))["value"] == row(table, key)["value"], table

        compare("orders", order_id)
        compare("orders_by_customer", f"c-{sku}\x1f{order_id}")
        compare("stock", sku)
        assert client.get(f"/orders/{order_id}", params={"at": before}).status_code == 404
        changes = client.get(f"/stock/{sku}", params={"from": before}).json()["changes"]
        assert changes == [
            {"field": "reserved", "before": 0, "after": 2},
            {"field": "available", "before": 5, "after": 3},
        ]
    told = json.loads(running.tally("tables", "diff", "orders", order_id, "--from", before, "-f", "json"))
    assert {"field": "status", "before": None, "after": "CONFIRMED"} in told["changes"]
    running.tally("tables", "get", "stock", sku, "--at", "52w", expect=3)
    running.tally("tables", "get", "stock", sku, "--at", "2999-01-01T00:00:00Z", expect=2)
