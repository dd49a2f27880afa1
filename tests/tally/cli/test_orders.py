"""Verbs that speak with the API: what they ask, what they print, how they fail."""

from __future__ import annotations

import json
from typing import Any

import pytest

PLACED = {"order_id": "o1", "version": 1}


def test_an_order_needs_no_more_than_a_sku_and_a_quantity(run: Any, api: Any) -> None:
    api.answer("POST", "/orders", 201, PLACED, Consistency_Token="orders/o1@1")
    result = run("orders", "place", "--sku", "85123A", "--quantity", "2", "--api", api.url)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {**PLACED, "token": "orders/o1@1"}
    method, path, headers, body = api.asked[0]
    assert (method, path) == ("POST", "/orders")
    assert headers["idempotency-key"]
    assert body["lines"] == [{"sku": "85123A", "quantity": 2, "unit_price_minor": 100}]
    assert body["payment"] == {"method": "card", "reference": "tok_ok"}
    assert body["customer_id"] == "guest"


def test_further_lines_have_their_own_quantity_and_price(run: Any, api: Any) -> None:
    api.answer("POST", "/orders", 201, PLACED)
    run("orders", "place", "--line", "a:3:50", "--line", "b:1", "--price", "9", "--api", api.url)
    assert api.asked[0][3]["lines"] == [
        {"sku": "a", "quantity": 3, "unit_price_minor": 50},
        {"sku": "b", "quantity": 1, "unit_price_minor": 9},
    ]


@pytest.mark.parametrize("line", ["a", "a:x", ":1", "a:1:2:3"])
def test_a_line_that_cannot_be_read_is_wrong_usage(run: Any, api: Any, line: str) -> None:
    result = run("orders", "place", "--line", line, "--api", api.url)
    assert result.exit_code == 2
    assert "sku:quantity[:price]" in result.stderr
    assert api.asked == []


def test_placing_can_wait_for_the_end(run: Any, api: Any) -> None:
    api.answer("POST", "/orders", 201, PLACED, Consistency_Token="orders/o1@1")
    api.answer("GET", "/orders/o1", 200, {"id": "o1", "status": "CREATED"})
    api.answer("GET", "/orders/o1", 200, {"id": "o1", "status": "CONFIRMED"})
    result = run("orders", "place", "--sku", "a", "--wait", "--api", api.url)
    assert json.loads(result.stdout)["status"] == "CONFIRMED"
    assert api.asked[1][2]["consistency-token"] == "orders/o1@1"


def test_returned_lines_are_named_by_number_and_quantity(run: Any, api: Any) -> None:
    api.answer("POST", "/orders/o1/returns", 202, {"order_id": "o1", "version": 4}, Consistency_Token="orders/o1@4")
    result = run("orders", "return", "o1", "--line", "1:2", "--line", "3:1", "--idempotency-key", "k", "--api", api.url)
    assert json.loads(result.stdout) == {"order_id": "o1", "token": "orders/o1@4"}
    _, _, headers, body = api.asked[0]
    assert headers["idempotency-key"] == "k"
    assert body == {"lines": [{"line": 1, "quantity": 2}, {"line": 3, "quantity": 1}]}
    assert run("orders", "return", "o1", "--line", "one", "--api", api.url).exit_code == 2


@pytest.mark.parametrize(("status", "exit_code"), [(404, 3), (409, 1), (422, 2), (400, 2), (503, 4), (500, 1)])
def test_each_refusal_has_its_exit_code_and_one_line(run: Any, api: Any, status: int, exit_code: int) -> None:
    api.answer("POST", "/orders/o1/cancel", status, {"title": "No", "detail": "the reason"})
    result = run("orders", "cancel", "o1", "--api", api.url)
    assert result.exit_code == exit_code
    assert "the reason" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_api_that_does_not_answer_is_out_of_reach(run: Any) -> None:
    result = run("orders", "show", "o1", "--api", "http://127.0.0.1:1")
    assert result.exit_code == 4
    assert "does not answer" in result.stderr


def test_without_a_system_every_verb_says_how_to_start_one(run: Any) -> None:
    for verb in (("orders", "show", "o1"), ("topics", "list"), ("audit",), ("groups", "lag"), ("sagas", "list")):
        result = run(*verb)
        assert result.exit_code == 4, verb
        assert "tally dev" in result.stderr


def test_history_is_a_row_for_each_event(run: Any, api: Any) -> None:
    events = [{"id": "e1", "type": "ORDER_CREATED", "aggregateId": "o1", "data": {}, "timestamp": "t", "version": 1}]
    api.answer("GET", "/orders/o1/events", 200, events)
    assert json.loads(run("orders", "history", "o1", "-f", "json", "--api", api.url).stdout) == events
    assert run("orders", "history", "o1", "-f", "%{version} %{type}\\n", "--api", api.url).stdout == "1 ORDER_CREATED\n"


def test_the_orders_of_a_customer_come_over_all_pages(run: Any, api: Any) -> None:
    api.answer("GET", "/customers/c%2F1/orders", 200, {"items": [{"id": "o1"}], "next": "more"})
    api.answer("GET", "/customers/c%2F1/orders", 200, {"items": [{"id": "o2"}], "next": None})
    result = run("orders", "list", "c/1", "--api", api.url)
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["o1", "o2"]


def test_all_orders_come_over_all_pages_of_their_table(run: Any, api: Any) -> None:
    api.answer("GET", "/tables/orders", 200, {"items": [{"key": "o1", "value": {"id": "o1"}}], "next": "more"})
    api.answer("GET", "/tables/orders", 200, {"items": [{"key": "o2", "value": {"id": "o2"}}], "next": None})
    result = run("orders", "list", "-n", "2", "--api", api.url)
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["o1", "o2"]


def test_goods_come_in_with_a_reason_to_adjust(run: Any, api: Any) -> None:
    api.answer("POST", "/stock/a/adjustments", 200, {"sku": "a", "version": 2}, Consistency_Token="inventory/a@2")
    result = run("stock", "adjust", "a", "--quantity", "-3", "--reason", "broken", "--api", api.url)
    assert json.loads(result.stdout) == {"sku": "a", "version": 2, "token": "inventory/a@2"}
    assert api.asked[0][3] == {"quantity": -3, "reason": "broken"}


def test_a_command_on_its_way_is_looked_up(run: Any, api: Any) -> None:
    api.answer("POST", "/stock/a/receipts", 202, {"sku": "a"}, Location="/commands/m1")
    api.answer("GET", "/commands/m1", 200, {"state": "RUNNING", "events": [], "token": None, "refusal": None})
    result = run("stock", "receive", "a", "--quantity", "3", "--api", api.url)
    assert json.loads(result.stdout)["command"] == "/commands/m1"


def test_a_word_that_is_no_format_is_wrong_usage(run: Any, api: Any) -> None:
    api.answer("GET", "/stock/a", 200, {"sku": "a"})
    result = run("stock", "show", "a", "-f", "yaml", "--api", api.url)
    assert result.exit_code == 2
    assert "table, json, jsonl, csv" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--version", "2"], "/orders/o1?version=2"),
        (["--at", "2026-11-25T12:00:00Z"], "/orders/o1?at=2026-11-25T12%3A00%3A00.000Z"),
        (["--at", "1795521600"], "/orders/o1?at=2026-11-24T12%3A00%3A00.000Z"),
        ([], "/orders/o1"),
    ],
)
def test_an_order_of_the_past_is_asked_for(run: Any, api: Any, arguments: list[str], asked: str) -> None:
    api.answer("GET", "/orders/o1", 200, {"id": "o1"})
    assert run("orders", "show", "o1", *arguments, "--api", api.url).exit_code == 0
    assert api.asked[0][1] == asked


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [(["--version", "2"], "?version=2"), (["--at", "2026-11-25T12:00:00Z"], "?at=2026-11-25T12%3A00%3A00.000Z")],
)
def test_stock_of_the_past_is_asked_for(run: Any, api: Any, arguments: list[str], asked: str) -> None:
    api.answer("GET", "/stock/a", 200, {"sku": "a"})
    assert run("stock", "show", "a", *arguments, "--api", api.url).exit_code == 0
    assert api.asked[0][1] == f"/stock/a{asked}"


@pytest.mark.parametrize("arguments", [["--at", "yesterday"], ["--at", "1h", "--version", "1"], ["--version", "0"]])
def test_what_is_no_past_is_wrong_usage(run: Any, api: Any, arguments: list[str]) -> None:
    assert run("orders", "show", "o1", *arguments, "--api", api.url).exit_code == 2
