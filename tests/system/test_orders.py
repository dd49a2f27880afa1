"""The main job through every hop: orders by HTTP and by command line, their ends, their histories, the books."""

from __future__ import annotations

import json
import uuid
from typing import Any

from running_system import Running, order, wait_for


def place(running: Running, body: dict[str, Any], key: str | None = None) -> Any:
    with running.client() as client:
        return client.post("/orders", json=body, headers={"Idempotency-Key": key or uuid.uuid4().hex})


def placed(running: Running, body: dict[str, Any]) -> str:
    answer = place(running, body)
    assert answer.status_code == 201, answer.text
    order_id: str = answer.json()["order_id"]
    return order_id


def stock(running: Running, sku: str) -> dict[str, int]:
    with running.client() as client:
        found = client.get(f"/stock/{sku}").json()
    return {name: found[name] for name in ("on_hand", "reserved", "available")}


def saga(running: Running, order_id: str) -> dict[str, Any]:
    with running.client() as client:
        found = client.get(f"/tables/order_sagas/{order_id}")
    value: dict[str, Any] = found.json()["value"] if found.status_code == 200 else {}
    return value


def test_an_order_goes_through_every_hop_and_is_confirmed(running: Running) -> None:
    running.receive("hop-a", 10)
    running.receive("hop-b", 10)
    order_id = placed(running, order(("hop-a", 3), ("hop-b", 4), ("hop-a", 2)))
    assert running.wait_status(order_id, "CONFIRMED")["total_minor"] == 9 * 255
    wait_for(lambda: stock(running, "hop-a")["reserved"] == 5, 30, "the read model of stock")
    assert stock(running, "hop-a") == {"on_hand": 10, "reserved": 5, "available": 5}
    with running.client() as client:
        history = client.get(f"/orders/{order_id}/events").json()
    assert [(event["type"], event["version"]) for event in history] == [("ORDER_CREATED", 1), ("ORDER_CONFIRMED", 2)]


def test_too_little_stock_rejects_the_order_and_releases_its_other_lines(running: Running) -> None:
    running.receive("short-a", 10)
    running.receive("short-b", 1)
    order_id = placed(running, order(("short-a", 5), ("short-b", 2)))
    assert running.wait_status(order_id, "REJECTED")["reason"] == "INSUFFICIENT_STOCK"
    wait_for(lambda: stock(running, "short-a")["reserved"] == 0, 30, "the release of the other line")


def test_an_unknown_sku_and_a_declined_card_reject_with_their_reasons(running: Running) -> None:
    running.receive("declined", 10)
    unknown = placed(running, order((f"nothing-{uuid.uuid4().hex[:8]}", 1)))
    declined = placed(running, order(("declined", 1), reference="tok_decline"))
    assert running.wait_status(unknown, "REJECTED")["reason"] == "UNKNOWN_SKU"
    assert running.wait_status(declined, "REJECTED")["reason"] == "PAYMENT_DECLINED"


def test_a_provider_that_never_answers_ends_in_a_time_out_and_one_that_fails_twice_does_not(running: Running) -> None:
    running.receive("patience", 10)
    flaky = placed(running, order(("patience", 1), reference="tok_flaky"))
    silent = placed(running, order(("patience", 1), reference="tok_timeout"))
    running.wait_status(flaky, "CONFIRMED")
    assert running.wait_status(silent, "REJECTED", within_s=60)["reason"] == "TIMED_OUT"


def test_a_confirmed_order_ships_and_another_is_cancelled(running: Running) -> None:
    running.receive("ship", 10)
    shipped, cancelled = placed(running, order(("ship", 4))), placed(running, order(("ship", 3)))
    for order_id in (shipped, cancelled):
        running.wait_status(order_id, "CONFIRMED")
    with running.client() as client:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        assert client.post(f"/orders/{shipped}/ship", headers=headers).status_code == 202
        assert client.post(f"/orders/{cancelled}/cancel", headers={"Idempotency-Key": "c"}).status_code == 202
        assert client.post(f"/orders/{shipped}/cancel", headers={"Idempotency-Key": "d"}).status_code == 409
    running.wait_status(shipped, "SHIPPED")
    running.wait_status(cancelled, "CANCELLED")
    left = {"on_hand": 6, "reserved": 0, "available": 6}
    wait_for(lambda: stock(running, "ship") == left, 30, "shipping and release")


def test_an_order_is_cancelled_at_once_when_confirmed_and_when_its_money_was_taken(running: Running) -> None:
    running.receive("undone", 20)
    ids = [placed(running, order(("undone", 3))) for _ in range(3)]
    with running.client() as client:

        def cancel(order_id: str) -> None:
            headers = {"Idempotency-Key": uuid.uuid4().hex}
            assert client.post(f"/orders/{order_id}/cancel", headers=headers).status_code == 202

        cancel(ids[0])
        running.wait_status(ids[1], "CONFIRMED")
        cancel(ids[1])
        wait_for(lambda: saga(running, ids[2]).get("outcome") == "CONFIRMED", 20, "the capture")
        cancel(ids[2])
        for order_id in ids:
            wait_for(
                lambda id_=order_id: saga(running, id_).get("outcome") == "CANCELLED", 30, f"the end of {order_id}"
            )
    left = {"on_hand": 20, "reserved": 0, "available": 20}
    # A read model of its own, which the saga does not wait for.
    wait_for(lambda: stock(running, "undone") == left, 30, "the release")
    read = running.tally("consume", "payments.events", "-k", ids[2], "-o", "beginning", "-e", "-f", "jsonl")
    types = [record["type"] for record in map(json.loads, read.splitlines()) if record["aggregateId"] == ids[2]]
    assert types[-2:] == ["PAYMENT_CAPTURED", "PAYMENT_REFUNDED"]


def test_lines_of_a_shipped_order_come_back_in_stock_and_in_money(running: Running) -> None:
    running.receive("back", 10)
    order_id = placed(running, order(("back", 4), ("back", 2)))
    running.wait_status(order_id, "CONFIRMED")
    running.tally("orders", "return", order_id, "--line", "1:1", expect=1)
    running.tally("orders", "ship", order_id)
    running.tally("orders", "return", order_id, "--line", "1:3", "--line", "2:1")
    with running.client() as client:
        path, headers = f"/orders/{order_id}/returns", {"Idempotency-Key": uuid.uuid4().hex}
        too_much = client.post(path, json={"lines": [{"line": 1, "quantity": 2}]}, headers=headers)
    assert (too_much.status_code, too_much.json()["reason"]) == (409, "RETURNED_TOO_MUCH")
    left = {"on_hand": 8, "reserved": 0, "available": 8}
    wait_for(lambda: stock(running, "back") == left, 20, "the goods that came back")
    wait_for(lambda: saga(running, order_id).get("returned") == [4, 2], 20, "the return")
    wait_for(lambda: saga(running, order_id)["outcome"] == "SHIPPED", 20, "the refund")
    refunds = ("consume", "payments.events", "-k", order_id, "--type", "PAYMENT_REFUNDED", "-o", "beginning", "-e")
    records = [json.loads(line) for line in running.tally(*refunds, "-f", "jsonl").splitlines()]
    [refund] = [record["data"] for record in records if record["aggregateId"] == order_id]
    assert refund["amount_minor"] == 4 * 255
    shown = running.status_of(order_id)
    assert (shown["status"], shown["returned"]) == (
        "SHIPPED",
        [{"line": 1, "quantity": 3}, {"line": 2, "quantity": 1}],
    )


def test_the_same_key_is_answered_once_and_another_body_is_refused(running: Running) -> None:
    running.receive("once", 10)
    key, body = uuid.uuid4().hex, order(("once", 1))
    first, second = place(running, body, key), place(running, body, key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert place(running, order(("once", 2)), key).status_code == 422


def test_a_write_is_read_with_its_token(running: Running) -> None:
    answer = place(running, order(("token", 1)))
    token = answer.headers["Consistency-Token"]
    assert token == f"orders/{answer.json()['order_id']}@1"
    with running.client() as client:
        read = client.get(answer.headers["Location"], headers={"Consistency-Token": token, "Prefer": "wait=10"})
        never = client.get(
            answer.headers["Location"], headers={"Consistency-Token": token.replace("@1", "@99"), "Prefer": "wait=1"}
        )
    assert (read.status_code, read.json()["version"] >= 1) == (200, True)
    assert (never.status_code, "Retry-After" in never.headers) == (503, True)


def test_the_largest_orders_of_the_data_set_work(running: Running) -> None:
    skus = [f"wide-{number % 40}" for number in range(1114)]
    for sku in sorted(set(skus)):
        running.receive(sku, 1_000)
    running.receive("deep", 80_995)
    wide = placed(running, order(*((sku, 1) for sku in skus)))
    deep = placed(running, order(("deep", 80_995)))
    running.wait_status(deep, "CONFIRMED")
    assert len(running.wait_status(wide, "CONFIRMED", within_s=60)["lines"]) == 1114


def test_a_customers_orders_are_paged(running: Running) -> None:
    customer = uuid.uuid4().hex
    wanted = {placed(running, order(("paged", 1), customer=customer)) for _ in range(5)}
    found: list[str] = []
    with running.client() as client:
        wait_for(
            lambda: len(client.get(f"/customers/{customer}/orders?limit=10").json()["items"]) == 5, 20, "five orders"
        )
        cursor = None
        while cursor is not None or not found:
            query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = client.get(f"/customers/{customer}/orders", params=query).json()
            found += [item["id"] for item in page["items"]]
            cursor = page["next"]
    assert sorted(found) == sorted(wanted)


def test_the_command_line_places_shows_and_consumes(running: Running) -> None:
    running.tally("stock", "receive", "85123A", "--quantity", "100")
    said = json.loads(running.tally("orders", "place", "--sku", "85123A", "--quantity", "2", "-f", "json"))
    order_id = said["order_id"]
    running.wait_status(order_id, "CONFIRMED")
    assert json.loads(running.tally("orders", "show", order_id, "-f", "json"))["status"] == "CONFIRMED"
    read = running.tally("consume", "orders.events", "-k", order_id, "-o", "beginning", "-e", "-f", "jsonl")
    records = [json.loads(line) for line in read.splitlines()]
    mine = [record for record in records if record["aggregateId"] == order_id]
    assert [record["type"] for record in mine] == ["ORDER_CREATED", "ORDER_CONFIRMED"]
    row = json.loads(running.tally("tables", "get", "orders", order_id, "-f", "json"))
    assert row["value"]["status"] == "CONFIRMED"
    assert "orders.events" in running.tally("topics", "list")
    running.tally("orders", "show", "no-such-order", expect=3)


def test_people_publish_commands_and_not_events(running: Running) -> None:
    running.tally("publish", "orders.events", "-k", "x", "--type", "ORDER_SHIPPED", "--data", "{}", expect=2)
    command = ("publish", "inventory.commands", "-k", "by-hand", "--type", "RECEIVE_STOCK")
    running.tally(*command, "--data", '{"quantity": 7, "reason": null}')
    with running.client() as client:
        wait_for(
            lambda: client.get("/stock/by-hand").status_code == 200 and stock(running, "by-hand")["on_hand"] == 7,
            20,
            "the published receipt",
        )


def test_a_record_that_cannot_be_read_becomes_a_dead_letter_on_every_input(running: Running) -> None:
    topics = ("inventory.commands", "orders.commands", "payments.commands", "sagas.replies", "sagas.deadlines")
    for topic in topics:
        running.produce(topic, b"nobody", b"not avro at all")

    def letters() -> list[dict[str, Any]]:
        read = running.tally("consume", "dead-letters", "-o", "beginning", "-e", "-f", "jsonl")
        found = [json.loads(line)["data"] for line in read.splitlines()]
        # Other tests of this system set records aside too, and take letters away.
        return [letter for letter in found if letter and letter["value"] == b"not avro at all".hex()]

    wait_for(lambda: {letter["topic"] for letter in letters()} >= set(topics), 30, "a letter of each topic")
    for letter in letters():
        assert letter["reason"]
        assert letter["offset"] is not None
    running.receive("after-poison", 5)
    running.wait_status(placed(running, order(("after-poison", 1))), "CONFIRMED")


def test_replay_counts_and_folds_without_touching_anything(running: Running) -> None:
    said = json.loads(running.tally("replay", "run", "--dry-run", "orders.events", "inventory.events", "-f", "json"))
    assert json.dumps(said).count("ORDER_CREATED") >= 1


def test_the_books_balance_and_the_doctor_is_content(running: Running) -> None:
    verdict = json.loads(running.tally("audit", "-f", "json"))
    assert verdict["ok"], verdict["findings"]
    assert verdict["figures"]["orders"] > 5
    verdict = json.loads(running.tally("doctor", "-f", "json"))
    assert verdict["ok"], verdict["findings"]
