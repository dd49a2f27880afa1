"""The projections, event by event: next row, repeats, gaps, forks, strangers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schemas.envelope import Message, derive_id
from schemas.messages import (
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    OrderLinesReturned,
    OrderListed,
    OrderShipped,
    ReturnedLine,
    StockReceived,
    StockReserved,
    StockShortage,
)
from schemas.topics import READ_MODELS as NAMES
from streams.errors import HistoryForked, HistoryGap, UnexpectedMessage
from streams.read_models import orders, orders_by_customer, stock
from streams.read_models.table_of_tables import READ_MODELS
from streams.scenario import MOMENT, message

CREATED = OrderCreated("customer", "GBP", (OrderLine(1, "A", 2, 150),), 300, "card", "tok_ok")


def _fold(evolve: Any, events: list[Message]) -> Any:
    row = None
    for event in events:
        row = evolve(row, event)
    return row


def _order(*bodies: Any) -> list[Message]:
    return [message(body, "o1", version) for version, body in enumerate(bodies, 1)]


def test_every_read_model_has_a_line_in_the_table_of_tables() -> None:
    assert tuple(model.name for model in READ_MODELS) == NAMES


def test_an_order_as_its_customer_sees_it() -> None:
    events = _order(CREATED)
    assert _fold(orders.evolve, events) == {
        "id": "o1",
        "customer_id": "customer",
        "lines": [{"line": 1, "sku": "A", "quantity": 2, "unit_price_minor": 150}],
        "status": "CREATED",
        "reason": None,
        "total_minor": 300,
        "currency": "GBP",
        "created_at": "2026-01-01T00:00:00.000Z",
        "version": 1,
        "event_id": events[0].envelope.id,
    }


def test_an_order_changes_its_status_and_keeps_the_rest() -> None:
    row = _fold(orders.evolve, _order(CREATED, OrderConfirmed(), OrderCancelled("changed my mind")))
    assert (row["status"], row["reason"], row["version"]) == ("CANCELLED", "changed my mind", 3)
    assert row["customer_id"] == "customer"


def test_returned_lines_leave_the_status_and_are_summed_by_line() -> None:
    lines = (ReturnedLine(2, 1, "B"), ReturnedLine(1, 1, "A")), (ReturnedLine(1, 2, "A"),)
    returns = [OrderLinesReturned(each, 0) for each in lines]
    row = _fold(orders.evolve, _order(CREATED, OrderConfirmed(), OrderShipped(), *returns))
    assert (row["status"], row["version"]) == ("SHIPPED", 5)
    assert row["returned"] == [{"line": 1, "quantity": 3}, {"line": 2, "quantity": 1}]


def test_a_version_that_the_row_has_is_dropped() -> None:
    events = _order(CREATED, OrderConfirmed())
    row = _fold(orders.evolve, events)
    assert orders.evolve(row, events[1]) is None
    assert orders.evolve(row, events[0]) is None


def test_another_event_under_the_same_version_is_a_fork() -> None:
    row = _fold(orders.evolve, _order(CREATED))
    with pytest.raises(HistoryForked, match="version 1 is event"):
        orders.evolve(row, message(CREATED, "o1", 1, derive_id("another", "event")))


def test_a_version_that_lacks_in_between_is_a_gap() -> None:
    row = _fold(orders.evolve, _order(CREATED))
    with pytest.raises(HistoryGap, match="version 3 came where 2 was expected"):
        orders.evolve(row, message(OrderConfirmed(), "o1", 3))
    with pytest.raises(HistoryGap):
        orders.evolve(None, message(OrderConfirmed(), "o1", 2))
    with pytest.raises(HistoryGap):
        orders.evolve(None, message(OrderConfirmed(), "o1", 1))


def test_a_message_of_another_aggregate_is_a_stranger() -> None:
    stranger = message(StockReceived(1, None, 1, 0), "A", 1)
    with pytest.raises(UnexpectedMessage):
        orders.evolve(None, stranger)
    with pytest.raises(UnexpectedMessage):
        stock.evolve(None, message(CREATED, "o1", 1))
    with pytest.raises(UnexpectedMessage):
        orders_by_customer.key(stranger)


def _stock(*bodies: Any) -> list[Message]:
    return [_inventory(message(body, "A", version)) for version, body in enumerate(bodies, 1)]


def _inventory(event: Message) -> Message:
    return Message(replace(event.envelope, aggregatetype="inventory"), event.body)


def test_stock_shows_what_is_there_and_to_be_had() -> None:
    events = _stock(StockReceived(5, None, 5, 0), StockReserved("o1", 1, 2, 5, 2))
    assert _fold(stock.evolve, events) == {
        "sku": "A",
        "on_hand": 5,
        "reserved": 2,
        "available": 3,
        "version": 2,
        "event_id": events[1].envelope.id,
    }


def test_in_a_shortage_nothing_is_to_be_had() -> None:
    row = _fold(stock.evolve, _stock(StockReceived(5, None, 5, 0), StockShortage(2, 1, 3)))
    assert row["available"] == 0


def test_a_customers_list_takes_the_newest_state_of_an_order() -> None:
    row = _fold(orders.evolve, _order(CREATED))
    sent = orders_by_customer.rekey(row, _order(CREATED)[0], MOMENT)
    assert (sent.topic, sent.message.envelope.subject) == ("orders_by_customer.rekey", "customer")
    assert orders_by_customer.key(sent.message) == "customer\x1fo1"
    listed = orders_by_customer.evolve(None, sent.message)
    assert listed is not None
    assert (listed["id"], listed["status"], listed["version"]) == ("o1", "CREATED", 1)
    assert orders_by_customer.evolve(listed, sent.message) is None
    newer = message(OrderListed("o1", "SHIPPED", None, 300, "GBP", listed["created_at"], 4), "customer")
    newest = orders_by_customer.evolve(listed, newer)
    assert newest is not None
    assert newest["version"] == 4
    assert orders_by_customer.evolve(newest, sent.message) is None
    fork = message(newer.body, "customer", None, "another id")
    with pytest.raises(HistoryForked):
        orders_by_customer.evolve(newest, fork)
