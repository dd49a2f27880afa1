"""An order folded for the past is the row that the read models had then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from producers.orders.view import listed_after, view_after
from schemas.envelope import Envelope, Message
from schemas.messages import (
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    OrderLinesReturned,
    OrderRejected,
    OrderShipped,
    ReturnedLine,
    wire_type,
)
from streams.read_models import orders, orders_by_customer

CREATED = OrderCreated("c1", "GBP", (OrderLine(1, "a", 6, 255), OrderLine(2, "b", 1, 100)), 1630, "card", "tok_ok")
BACK = OrderLinesReturned((ReturnedLine(2, 1), ReturnedLine(1, 3)))
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def events(*bodies: Any) -> list[Message]:
    return [
        Message(
            Envelope(f"e{n}", wire_type(type(body)), "/t", "orders", "o1", n, NOON + timedelta(minutes=n), "c", "c"),
            body,
        )
        for n, body in enumerate(bodies, start=1)
    ]


@pytest.mark.parametrize(
    "history",
    [
        events(CREATED, OrderConfirmed(), OrderShipped(), BACK, OrderLinesReturned((ReturnedLine(1, 2),))),
        events(CREATED, OrderRejected("INSUFFICIENT_STOCK")),
        events(CREATED, OrderConfirmed(), OrderCancelled("CHANGED_MIND")),
    ],
)
def test_after_each_event_the_view_is_the_row_of_both_tables(history: list[Message]) -> None:
    row = listed = None
    for number, event in enumerate(history, start=1):
        row = orders.evolve(row, event)
        assert row is not None
        listed = orders_by_customer.evolve(listed, orders_by_customer.rekey(row, event, NOON).message)
        view = view_after(history[:number])
        assert view == row
        assert view is not None
        assert listed_after(view) == listed


def test_before_the_first_event_there_is_no_view() -> None:
    assert view_after([]) is None
