"""A history over the seam: what the index has, what the outbox adds, and neither twice nor none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from producers.orders.service import OrderService
from producers.store.postgres import PostgresEventStore
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message
from schemas.histories import to_row
from schemas.messages import OrderConfirmed, OrderShipped, SagaEnded, StockReceived, StockReserved, wire_type
from schemas.records import encode_record

CODEC = AvroCodec()
SKU = "85123A"


def row(message: Message) -> dict[str, Any]:
    _, value, headers = encode_record(message, CODEC)
    return to_row(0, message.envelope.version or 0, list(headers), value)


def event(body: Any, aggregatetype: str, subject: str, version: int) -> Message:
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    envelope = Envelope(
        f"{subject}-{version}", wire_type(type(body)), "/t", aggregatetype, subject, version, at, "c", "c"
    )
    return Message(envelope, body)


def put(api: Any, message: Message) -> None:
    envelope = message.envelope
    of = api.workers.histories.setdefault((envelope.aggregatetype, envelope.subject), {})
    of[envelope.version] = row(message)


@pytest.fixture
def order_id(api: Any) -> str:
    """An order with two events, both in the outbox."""
    placed: str = api.place().json()["order_id"]
    api.client.post(f"/orders/{placed}/cancel", headers=api.fresh_key())
    return placed


def published(api: Any, order_id: str) -> list[Message]:
    return OrderService(PostgresEventStore(api.pool, CODEC)).tail(order_id, 1, 2)


def told(api: Any, order_id: str) -> list[tuple[int, str]]:
    answer = api.client.get(f"/orders/{order_id}/events")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Consistency-Token"] == f"orders/{order_id}@2"
    return [(event["version"], event["type"]) for event in answer.json()]


WHOLE = [(1, "ORDER_CREATED"), (2, "ORDER_CANCELLED")]


@pytest.mark.parametrize("indexed", [(), (1,), (1, 2), (2,)])
def test_the_seam_shows_neither_gap_nor_repeat_wherever_it_lies(
    api: Any, order_id: str, indexed: tuple[int, ...]
) -> None:
    for message in published(api, order_id):
        if message.envelope.version in indexed:
            put(api, message)
    assert told(api, order_id) == WHOLE


def test_the_index_is_asked_up_to_the_head(api: Any, order_id: str) -> None:
    for message in published(api, order_id):
        put(api, message)
    assert told(api, order_id) == WHOLE
    assert api.workers.histories_asked == [("orders", order_id, 1, 2)]


def test_without_a_worker_the_outbox_tells_all(api: Any, order_id: str) -> None:
    api.workers.away.add("w0:1")
    assert told(api, order_id) == WHOLE


@pytest.fixture
def cleaned(api: Any, order_id: str, orders_database: Any) -> list[Message]:
    """The order's events; the first has left the outbox, as the connector cleans up what Kafka has."""
    events = published(api, order_id)
    with psycopg.connect(orders_database.connector_url) as connection:
        connection.execute("delete from outbox where aggregateid = %s and version = 1", (order_id,))
    return events


def test_what_was_cleaned_up_comes_from_the_index(api: Any, order_id: str, cleaned: list[Message]) -> None:
    put(api, cleaned[0])
    assert told(api, order_id) == WHOLE


def test_an_index_that_is_behind_what_was_cleaned_up_is_waited_for(
    api: Any, order_id: str, cleaned: list[Message]
) -> None:
    answers = iter([lambda: None, lambda: put(api, cleaned[0])])
    api.workers.before_history = lambda: next(answers, lambda: None)()
    assert told(api, order_id) == WHOLE


@pytest.mark.parametrize("away", [(), ("w0:1",)])
@pytest.mark.usefixtures("cleaned")
def test_a_history_that_can_be_told_by_nobody_yet_says_so(api: Any, order_id: str, away: tuple[str, ...]) -> None:
    api.workers.away.update(away)
    answer = api.client.get(f"/orders/{order_id}/events")
    assert (answer.status_code, answer.json()["type"]) == (503, "history-behind")
    assert answer.json()["detail"].endswith("`tally fsck` tells why")
    assert answer.headers["Retry-After"]


def test_an_index_that_runs_ahead_of_the_head_is_cut_at_the_head(api: Any, order_id: str) -> None:
    for message in [*published(api, order_id), event(OrderShipped(), "orders", order_id, 3)]:
        put(api, message)
    assert told(api, order_id) == WHOLE


def test_a_row_of_another_aggregate_is_refused(api: Any, order_id: str) -> None:
    api.workers.histories["orders", order_id] = {1: row(event(OrderConfirmed(), "orders", "other", 1))}
    answer = api.client.get(f"/orders/{order_id}/events")
    assert (answer.status_code, answer.json()["type"]) == (500, "event-damaged")
    assert answer.json()["reason"] == f"an event of orders/other stands under orders/{order_id}"


def test_a_sku_has_a_history_too(api: Any) -> None:
    put(api, event(StockReceived(10, "", 10, 0), "inventory", SKU, 1))
    put(api, event(StockReserved("o1", 1, 2, 10, 2), "inventory", SKU, 2))
    api.workers.put("w0:1", "stock", SKU, {"version": 2})
    answer = api.client.get(f"/stock/{SKU}/events")
    assert [event["type"] for event in answer.json()] == ["STOCK_RECEIVED", "STOCK_RESERVED"]
    assert answer.headers["Consistency-Token"] == f"inventory/{SKU}@2"
    assert api.client.get("/stock/nothing/events").status_code == 404


def test_an_index_that_is_behind_a_skus_row_says_so(api: Any) -> None:
    put(api, event(StockReceived(10, "", 10, 0), "inventory", SKU, 1))
    api.workers.put("w0:1", "stock", SKU, {"version": 2})
    answer = api.client.get(f"/stock/{SKU}/events", headers={"Prefer": "wait=0"})
    assert (answer.status_code, answer.json()["type"]) == (503, "history-behind")
    assert "1 of 2 events" in answer.json()["detail"]


@pytest.mark.parametrize(("version", "status"), [(1, "CREATED"), (2, "CANCELLED")])
def test_an_order_is_shown_at_any_of_its_versions(api: Any, order_id: str, version: int, status: str) -> None:
    shown = api.client.get(f"/orders/{order_id}?version={version}").json()
    assert (shown["status"], shown["version"]) == (status, version)


def test_a_version_that_was_never_reached_is_not_found(api: Any, order_id: str) -> None:
    answer = api.client.get(f"/orders/{order_id}?version=3")
    assert (answer.status_code, answer.json()["detail"]) == (404, f"there was no order {order_id} at version 3")


@pytest.mark.parametrize("path", ["/orders/o1", f"/stock/{SKU}"])
def test_both_ways_to_ask_for_the_past_at_once_are_refused(api: Any, path: str) -> None:
    answer = api.client.get(path, params={"at": "2026-11-25T12:00:00Z", "version": 1})
    assert (answer.status_code, answer.json()["type"]) == (400, "at-and-version")
    assert api.client.get(path, params={"version": 0}).status_code == 422


@pytest.fixture
def busy_sku(api: Any) -> str:
    """A SKU that gains a unit a minute from noon on, a hundred times."""
    for version in range(1, 101):
        received = event(StockReceived(1, None, version, 0), "inventory", SKU, version)
        at = received.envelope.recorded_at + timedelta(minutes=version - 1)
        put(api, Message(replace(received.envelope, recorded_at=at), received.body))
    api.workers.put("w0:1", "stock", SKU, {"version": 100})
    return SKU


@pytest.mark.parametrize(
    ("at", "on_hand"),
    [("12:00:00", 1), ("12:00:59.999", 1), ("12:01:00", 2), ("12:41:30", 42), ("13:39:00", 100), ("23:00:00", 100)],
)
def test_stock_is_shown_as_it_was_by_few_looks(api: Any, busy_sku: str, at: str, on_hand: int) -> None:
    shown = api.client.get(f"/stock/{busy_sku}", params={"at": f"2026-11-20T{at}Z"}).json()
    assert (shown["on_hand"], shown["available"], shown["version"]) == (on_hand, on_hand, on_hand)
    assert len(api.workers.histories_asked) <= 7


def test_stock_is_shown_at_a_version_and_not_before_its_first_event(api: Any, busy_sku: str) -> None:
    assert api.client.get(f"/stock/{busy_sku}?version=7").json()["on_hand"] == 7
    assert api.client.get(f"/stock/{busy_sku}?version=101").status_code == 404
    assert api.client.get(f"/stock/{busy_sku}", params={"at": "2026-11-20T11:59:59Z"}).status_code == 404
    assert api.client.get("/stock/nothing", params={"at": "2026-11-20T11:59:59Z"}).status_code == 404


def test_a_saga_has_a_history_too(api: Any) -> None:
    put(api, event(SagaEnded("CONFIRMED", None), "sagas", "o1", 1))
    api.workers.put("w0:1", "order_sagas", "o1", {"version": 1})
    answer = api.client.get("/sagas/o1/events")
    assert [event["type"] for event in answer.json()] == ["SAGA_ENDED"]
    assert answer.headers["Consistency-Token"] == "sagas/o1@1"
    assert api.client.get("/sagas/nothing/events").status_code == 404
