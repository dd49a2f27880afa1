"""Replay of a range of messages: counts, tables, faults; nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from schemas.envelope import Message
from schemas.messages import OrderConfirmed, OrderCreated, OrderLine, StockReceived, StockReserved
from streams.replay.folding import FAULTS_MAX, replay
from streams.scenario import message

CREATED = OrderCreated("customer", "GBP", (OrderLine(1, "A", 2, 150),), 300, "card", "tok_ok")


def _inventory(body: Any, version: int) -> Message:
    event = message(body, "A", version)
    return Message(replace(event.envelope, aggregatetype="inventory"), event.body)


def _history() -> Iterator[tuple[str, Message]]:
    yield "inventory.events", _inventory(StockReceived(5, None, 5, 0), 1)
    yield "orders.events", message(CREATED, "o1", 1)
    yield "inventory.events", _inventory(StockReserved("o1", 1, 2, 5, 2), 2)
    yield "orders.events", message(OrderConfirmed(), "o1", 2)


def test_a_replay_counts_and_folds() -> None:
    folded = replay(_history())
    assert folded.counts["inventory.events", "STOCK_RESERVED"] == 1
    assert folded.stock_levels["A"] == {"on_hand": 5, "reserved": 2, "version": 2, "known": True}
    assert folded.holds["A\x1fo1\x1f1"]["status"] == "HELD"
    assert folded.orders["o1"]["status"] == "CONFIRMED"
    assert folded.stock["A"]["available"] == 3
    assert folded.faults == []


def test_hearing_everything_twice_folds_to_the_same() -> None:
    history = list(_history())
    once, twice = replay(history), replay([*history, *history])
    assert (once.orders, once.stock_levels, once.holds) == (twice.orders, twice.stock_levels, twice.holds)
    assert twice.faults == []


def test_a_gap_is_a_fault_and_folds_no_further() -> None:
    folded = replay([("inventory.events", _inventory(StockReceived(5, None, 5, 0), 3))])
    assert folded.faults == ["inventory.events: inventory/A: version 3 came where 1 was expected"]
    assert folded.stock_levels == {}


def test_faults_are_kept_up_to_a_bound_and_all_are_counted() -> None:
    gap = ("inventory.events", _inventory(StockReceived(5, None, 5, 0), 3))
    folded = replay([gap] * (FAULTS_MAX + 5))
    assert len(folded.faults) == FAULTS_MAX
    assert folded.faults_total == FAULTS_MAX + 5
