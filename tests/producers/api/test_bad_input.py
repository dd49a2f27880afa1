"""Every rule of "Answers to bad input": refused with problem details, nothing written."""

from __future__ import annotations

import json
from typing import Any

import pytest

LINE = {"sku": "85123A", "quantity": 6, "unit_price_minor": 255}


def problem(response: Any, status: int, type_: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert (document["status"], document["type"]) == (status, type_)
    return document


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"[1,", b"\xff\xfe", b'{"a":', b"nonsense", b"[" * 100_000, b'{"a": ' + b"9" * 5_000 + b"}"],
    ids=["brace", "empty", "list", "bytes", "half", "word", "deep", "digits"],
)
def test_malformed_json_is_400(api: Any, content: bytes) -> None:
    response = api.client.post("/orders", content=content, headers=api.fresh_key())
    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert api.written() == 0


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": ""}, {"Idempotency-Key": "x" * 256}])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/orders", {"customer_id": "guest", "currency": "GBP", "lines": [LINE], "payment": {}}),
        ("/orders/1/cancel", {}),
        ("/orders/1/ship", None),
        ("/orders/1/returns", {"lines": [{"line": 1, "quantity": 1}]}),
        ("/stock/85123A/receipts", {"quantity": 1}),
        ("/stock/85123A/adjustments", {"quantity": 1, "reason": "COUNT"}),
    ],
)
def test_a_write_without_a_usable_idempotency_key_is_400(
    api: Any, path: str, body: Any, headers: dict[str, str]
) -> None:
    response = api.client.post(path, json=body, headers=headers)
    problem(response, 400, "idempotency-key-wrong" if headers.get("Idempotency-Key") else "idempotency-key-missing")
    assert (api.written(), api.commands.sent) == (0, [])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"lines": []},
        {"lines": [{"line": 1, "quantity": 0}]},
        {"lines": [{"line": 1, "quantity": 1_000_001}]},
        {"lines": [{"line": 0, "quantity": 1}]},
        {"lines": [{"line": "1", "quantity": 1}]},
        {"lines": [{"line": 1, "quantity": 1, "sku": "a"}]},
        {"lines": [{"line": 1, "quantity": 1}] * 2_001},
        {"lines": [{"line": 1, "quantity": 1}], "refund_minor": 5},
    ],
)
def test_a_wrong_return_is_422_and_writes_nothing(api: Any, body: Any) -> None:
    problem(api.client.post("/orders/1/returns", json=body, headers=api.fresh_key()), 422, "request-validation-failed")
    assert api.written() == 0


def lines(**changes: Any) -> dict[str, Any]:
    return {"lines": [{**LINE, **changes}]}


@pytest.mark.parametrize(
    "changes",
    [
        {"lines": []},
        {"lines": [LINE] * 2_001},
        {"lines": {"0": LINE}},
        {"lines": None},
        lines(quantity=0),
        lines(quantity=-1),
        lines(quantity=1_000_001),
        lines(quantity="3"),
        lines(quantity=True),
        lines(quantity=3.0),
        lines(quantity=None),
        lines(quantity=10**30),
        lines(unit_price_minor=-1),
        lines(unit_price_minor=4_000_000_001),
        lines(unit_price_minor="255"),
        lines(unit_price_minor=2.55),
        lines(sku=""),
        lines(sku="x" * 65),
        lines(sku=85123),
        lines(sku="a\x00b"),
        lines(sku="\ud800"),
        lines(colour="red"),
        {"customer_id": ""},
        {"customer_id": "x" * 65},
        {"customer_id": 12345},
        {"customer_id": "a\x00b"},
        {"customer_id": "\udfff"},
        {"currency": "gbp"},
        {"currency": "GBPX"},
        {"currency": "GB"},
        {"currency": "GBP\n"},
        {"currency": 826},
        {"payment": {"method": "cash", "reference": "tok_ok"}},
        {"payment": {"method": "card"}},
        {"payment": {"method": "card", "reference": ""}},
        {"payment": {"method": "card", "reference": "\x00"}},
        {"payment": "card"},
        {"payment": {"method": "card", "reference": "tok_ok", "cvc": "123"}},
        {"status": "CONFIRMED"},
    ],
    ids=lambda changes: json.dumps(changes)[:50],
)
def test_what_is_understood_but_wrong_is_422_and_nothing_is_written(api: Any, changes: dict[str, Any]) -> None:
    content = json.dumps(api.order(**changes))
    response = api.client.post("/orders", content=content, headers=api.fresh_key())
    assert problem(response, 422, "request-validation-failed")["errors"]
    assert api.written() == 0


@pytest.mark.parametrize("missing", ["customer_id", "currency", "lines", "payment"])
def test_a_missing_field_is_422(api: Any, missing: str) -> None:
    body = api.order()
    del body[missing]
    problem(api.client.post("/orders", json=body, headers=api.fresh_key()), 422, "request-validation-failed")
    assert api.written() == 0


@pytest.mark.parametrize("body", [[], "order", 1, None])
def test_a_body_that_is_no_object_is_422(api: Any, body: Any) -> None:
    response = api.client.post("/orders", content=json.dumps(body), headers=api.fresh_key())
    problem(response, 422, "request-validation-failed")


def test_a_number_that_is_none_is_422(api: Any) -> None:
    content = json.dumps(api.order(**lines(quantity=1))).replace('"quantity": 1', '"quantity": NaN')
    problem(api.client.post("/orders", content=content, headers=api.fresh_key()), 422, "request-validation-failed")


def test_the_answer_does_not_repeat_what_was_sent(api: Any) -> None:
    response = api.place(customer_id=["4111 1111 1111 1111"])
    assert "4111" not in response.text


def test_a_body_beyond_a_megabyte_is_413(api: Any) -> None:
    response = api.client.post("/orders", content=b" " * ((1 << 20) + 1), headers=api.fresh_key())
    problem(response, 413, "body-too-large")


@pytest.mark.parametrize(
    "changes",
    [
        {"lines": [LINE] * 2_000},
        {"lines": [LINE] * 1_114},
        lines(quantity=80_995),
        lines(quantity=1_000_000, unit_price_minor=4_000_000_000),
        lines(unit_price_minor=0),
        {"customer_id": "x" * 64},
        {"customer_id": "Łódź \U0001f600"},
        lines(sku="x" * 64),
        {"payment": {"method": "wallet", "reference": "w"}},
    ],
    ids=lambda changes: json.dumps(changes)[:40],
)
def test_what_is_large_but_allowed_works(api: Any, changes: dict[str, Any]) -> None:
    response = api.place(**changes)
    assert response.status_code == 201, response.text


def test_the_largest_total_fits(api: Any) -> None:
    most = {**LINE, "quantity": 1_000_000, "unit_price_minor": 4_000_000_000}
    placed = api.place(lines=[most] * 2_000).json()
    event = api.client.get(f"/orders/{placed['order_id']}/events").json()[0]
    assert event["data"]["total_minor"] == 2_000 * 1_000_000 * 4_000_000_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/stock/85123A/receipts", {"quantity": 0}),
        ("/stock/85123A/receipts", {"quantity": 1_000_001}),
        ("/stock/85123A/receipts", {"quantity": "3"}),
        ("/stock/85123A/receipts", {"quantity": True}),
        ("/stock/85123A/receipts", {"quantity": 1, "reason": "gift"}),
        ("/stock/85123A/receipts", {}),
        ("/stock/" + "x" * 65 + "/receipts", {"quantity": 1}),
        ("/stock/%00/receipts", {"quantity": 1}),
        ("/stock/85123A/adjustments", {"quantity": 0, "reason": "COUNT"}),
        ("/stock/85123A/adjustments", {"quantity": 5}),
        ("/stock/85123A/adjustments", {"quantity": 5, "reason": ""}),
        ("/stock/85123A/adjustments", {"quantity": -1_000_001, "reason": "COUNT"}),
        ("/orders/1/cancel", {"reason": 1}),
        ("/orders/1/cancel", {"why": "x"}),
    ],
)
def test_wrong_acts_are_422_and_nothing_is_sent(api: Any, path: str, body: Any) -> None:
    problem(api.client.post(path, json=body, headers=api.fresh_key()), 422, "request-validation-failed")
    assert (api.written(), api.commands.sent) == (0, [])


@pytest.mark.parametrize("token", ["orders", "orders/1", "orders/1@", "orders/1@x", "@1", "orders/1@1,,", "ORDERS/1@1"])
def test_a_token_that_is_none_is_400(api: Any, token: str) -> None:
    problem(api.client.get("/orders/1", headers={"Consistency-Token": token}), 400, "consistency-token-wrong")


def test_what_is_not_there_is_404(api: Any) -> None:
    problem(api.client.get("/orders/nobody"), 404, "order-not-found")
    problem(api.client.get("/orders/nobody/events"), 404, "order-not-found")
    problem(api.client.post("/orders/nobody/cancel", headers=api.fresh_key()), 404, "order-not-found")
    problem(api.client.get("/stock/nothing"), 404, "sku-not-found")
    problem(api.client.get("/tables/orders/nobody"), 404, "row-not-found")
    problem(api.client.get("/commands/00000000-0000-0000-0000-000000000000"), 404, "command-not-found")
    assert api.client.get("/nowhere").headers["content-type"] == "application/problem+json"


def test_an_id_that_cannot_exist_is_422(api: Any) -> None:
    problem(api.client.get("/orders/%00"), 422, "request-validation-failed")
    problem(api.client.get("/commands/17"), 422, "request-validation-failed")


def test_a_wrong_method_is_405(api: Any) -> None:
    assert api.client.put("/orders", json={}).status_code == 405


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x"])
def test_a_page_has_a_bound(api: Any, query: str) -> None:
    problem(api.client.get(f"/customers/guest/orders?{query}"), 422, "request-validation-failed")


@pytest.mark.parametrize("cursor", ["!", "bm90anNvbg==", "WzEsMl0=", "Wy0xLG51bGxd"])
def test_a_cursor_that_is_none_is_400(api: Any, cursor: str) -> None:
    problem(api.client.get("/tables/orders", params={"cursor": cursor}), 400, "cursor-wrong")
