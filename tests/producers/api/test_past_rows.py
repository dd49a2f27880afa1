"""Rows of tables as they were, and what changed between two moments, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from producers.store.postgres import PostgresEventStore
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, derive_id, from_rfc3339, now, to_rfc3339
from schemas.histories import to_row
from schemas.messages import StockReceived, StockReserved, wire_type
from schemas.records import encode_record

CODEC = AvroCodec()
SKU = "SHELF/85123A"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def order(api: Any) -> list[Message]:
    """The two events of an order, at least a moment apart."""
    order_id = api.place(customer_id="c1").json()["order_id"]
    store = PostgresEventStore(api.pool, CODEC)
    while now() <= store.find_head("orders", order_id).recorded_at:
        continue
    api.client.post(f"/orders/{order_id}/cancel", headers=api.fresh_key())
    return store.read("orders", order_id)


@pytest.fixture
def sku(api: Any) -> str:
    """Ten units at noon; two of them reserved a minute later."""
    for version, body in enumerate((StockReceived(10, None, 10, 0), StockReserved("o1", 1, 2, 10, 2)), start=1):
        at = NOON + timedelta(minutes=version - 1)
        envelope = Envelope(f"e{version}", wire_type(type(body)), "/t", "inventory", SKU, version, at, "c", "c")
        _, value, headers = encode_record(Message(envelope, body), CODEC)
        api.workers.histories.setdefault(("inventory", SKU), {})[version] = to_row(0, version, list(headers), value)
    api.workers.put("w0:1", "stock", SKU, {"version": 2})
    return SKU


def at(message: Message, later_by_ms: int = 0) -> str:
    return to_rfc3339(message.envelope.recorded_at + timedelta(milliseconds=later_by_ms))


def asked(api: Any, path: str, **query: Any) -> Any:
    answer = api.client.get(path, params={name.rstrip("_"): value for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_row_of_orders_is_shown_as_it_was(api: Any, order: list[Message]) -> None:
    first, second = order
    id_ = first.envelope.subject
    row = asked(api, f"/tables/orders/{id_}", at=at(first))
    assert (row["key"], row["version"], row["recorded_at"]) == (id_, 1, at(first))
    assert (row["value"]["status"], row["value"]["event_id"]) == ("CREATED", first.envelope.id)
    # The moment of an event belongs to what stands after it.
    assert asked(api, f"/tables/orders/{id_}", at=at(second, -1))["value"]["status"] == "CREATED"
    assert asked(api, f"/tables/orders/{id_}", at=at(second))["value"]["status"] == "CANCELLED"
    assert asked(api, f"/tables/orders/{id_}", version=1)["value"] == row["value"]


def test_a_customers_row_is_shown_as_it_was_to_that_customer(api: Any, order: list[Message]) -> None:
    id_ = order[0].envelope.subject
    path = f"/tables/orders_by_customer/{quote('c1' + chr(31) + id_)}"
    value = asked(api, path, at=at(order[0]))["value"]
    assert (value["id"], value["status"]) == (id_, "CREATED")
    assert value["event_id"] == derive_id(order[0].envelope.id, "listed")
    for stranger in (f"c2\x1f{id_}", id_, "c1\x1f", "c1\x1fnobody"):
        answer = api.client.get(f"/tables/orders_by_customer/{quote(stranger)}", params={"at": at(order[1])})
        assert (answer.status_code, answer.json()["type"]) == (404, "row-not-found"), stranger


def test_a_row_of_stock_is_shown_as_it_was(api: Any, sku: str) -> None:
    row = asked(api, f"/tables/stock/{sku}", at="2026-11-20T12:00:59.999Z")
    assert (row["value"]["available"], row["version"], row["recorded_at"]) == (10, 1, "2026-11-20T12:00:00.000Z")
    # Moments may be told in any zone.
    assert asked(api, f"/tables/stock/{sku}", at="2026-11-20T13:01:00+01:00")["value"]["available"] == 8


@pytest.mark.parametrize("path", ["/stock/{}", "/tables/stock/{}"])
def test_what_changed_of_a_sku_between_two_moments(api: Any, sku: str, path: str) -> None:
    found = asked(api, path.format(sku), from_="2026-11-20T12:00:30Z", to="2026-11-20T12:01:30Z")
    assert found["key"] == sku
    assert found["from"] == {"at": "2026-11-20T12:00:30.000Z", "version": 1, "recorded_at": "2026-11-20T12:00:00.000Z"}
    assert found["to"]["version"] == 2
    assert found["changes"] == [
        {"field": "reserved", "before": 0, "after": 2},
        {"field": "available", "before": 10, "after": 8},
    ]


def test_what_changed_of_an_order_until_now(api: Any, order: list[Message]) -> None:
    id_ = order[0].envelope.subject
    for path in (f"/orders/{id_}", f"/tables/orders/{id_}"):
        found = asked(api, path, from_=at(order[0]))
        assert [change["field"] for change in found["changes"]] == ["status", "reason"]
        assert found["changes"][0] == {"field": "status", "before": "CREATED", "after": "CANCELLED"}
    assert asked(api, path, from_=at(order[1]))["changes"] == []


def test_what_was_not_there_yet_has_nothing_before(api: Any, order: list[Message]) -> None:
    found = asked(api, f"/orders/{order[0].envelope.subject}", from_="2026-11-01T00:00:00Z", to=at(order[0]))
    assert found["from"] == {"at": "2026-11-01T00:00:00.000Z", "version": 0, "recorded_at": None}
    assert {"field": "status", "before": None, "after": "CREATED"} in found["changes"]


@pytest.mark.parametrize("path", ["/orders/{}", "/tables/orders/{}"])
def test_before_the_first_event_there_is_nothing_to_see(api: Any, order: list[Message], path: str) -> None:
    path = path.format(order[0].envelope.subject)
    for query in ({"at": at(order[0], -1)}, {"from": "0001-01-01T00:00:00+23:59", "to": at(order[0], -1)}):
        answer = api.client.get(path, params=query)
        assert (answer.status_code, answer.json()["type"]) == (404, "order-not-found")
    answer = api.client.get(path, params={"version": 3})
    assert (answer.status_code, answer.json()["type"]) == (404, "order-not-found")


PATHS = ["/orders/o1", f"/stock/{SKU}", "/tables/orders/o1", f"/tables/stock/{SKU}", "/tables/orders_by_customer/c%1fo"]
FUTURE, GONE = "9999-12-31T23:59:59-23:59", "2026-11-20T12:00:00Z"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "type_"),
    [
        ({"at": FUTURE}, "in-the-future"),
        ({"from": FUTURE}, "in-the-future"),
        ({"from": GONE, "to": FUTURE}, "in-the-future"),
        ({"to": GONE}, "from-missing"),
        ({"from": "2026-11-20T12:00:01Z", "to": GONE}, "from-behind-to"),
        ({"at": GONE, "from": GONE}, "at-and-from"),
        ({"at": GONE, "version": 1}, "at-and-version"),
    ],
)
def test_a_question_without_a_sense_is_400(api: Any, path: str, query: dict[str, Any], type_: str) -> None:
    answer = api.client.get(path, params=query)
    assert (answer.status_code, answer.json()["type"]) == (400, type_)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "query", [{"at": "yesterday"}, {"at": "2026-11-20T12:00:00"}, {"from": "x"}, {"version": "0"}, {"at": "1e400"}]
)
def test_what_is_no_moment_is_422(api: Any, path: str, query: dict[str, str]) -> None:
    assert api.client.get(path, params=query).status_code == 422


def test_the_moment_of_asking_is_no_future(api: Any, order: list[Message]) -> None:
    # A clock that goes a little ahead of the API's asks for "now" too.
    ahead = to_rfc3339(from_rfc3339(at(order[1])) + timedelta(seconds=2))
    assert asked(api, f"/orders/{order[0].envelope.subject}", at=ahead)["status"] == "CANCELLED"


@pytest.mark.parametrize(
    ("path", "status", "type_"),
    [("/tables/holds/a", 422, "table-without-past"), ("/tables/nothing/a", 404, "table-not-found")],
)
def test_a_table_without_a_past_says_so(api: Any, path: str, status: int, type_: str) -> None:
    answer = api.client.get(path, params={"at": GONE})
    assert (answer.status_code, answer.json()["type"]) == (status, type_)


def test_an_index_that_is_a_moment_behind_the_row_is_waited_for(api: Any, sku: str) -> None:
    rows = api.workers.histories["inventory", SKU]
    newest = rows.pop(max(rows))
    late = iter([lambda: None, lambda: rows.__setitem__(len(rows) + 1, newest)])
    api.workers.before_history = lambda: next(late, lambda: None)()
    assert asked(api, f"/tables/stock/{sku}", version=str(len(rows) + 1))["version"] == len(rows)


def test_an_index_that_lacks_the_event_says_to_come_again(api: Any, sku: str) -> None:
    del api.workers.histories["inventory", SKU][2]
    answer = api.client.get(f"/tables/stock/{sku}", params={"at": GONE})
    assert (answer.status_code, answer.json()["type"]) == (503, "history-behind")


def test_a_moment_is_found_by_few_looks(api: Any, sku: str) -> None:
    rows = api.workers.histories["inventory", SKU]
    last = rows[2]
    for version in range(3, 1_001):
        headers = {**last["headers"], "aggregateversion": str(version), "ce_id": f"e{version}"}
        rows[version] = {**last, "headers": headers}
    api.workers.put("w0:1", "stock", SKU, {"version": 1_000})
    assert asked(api, f"/tables/stock/{sku}", at="2026-11-20T12:01:00Z")["version"] == 1_000
    assert len(api.workers.histories_asked) <= 11
