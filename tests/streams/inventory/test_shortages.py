"""Who gives way in a shortage: the newest holds first, their orders cancelled once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.envelope import Envelope, Message
from schemas.messages import AdjustStock, CancelOrder, ReceiveStock, ReleaseStock, ReserveStock, ShipStock, wire_type
from streams.inventory.commands import InventoryTables, handle
from streams.inventory.shortages import giving_way, relieve_again
from streams.inventory.stock import Hold, HoldStatus

AT = datetime(2026, 5, 1, tzinfo=UTC)


def _hold(units: int, version: int) -> Hold:
    return Hold(units, HoldStatus.HELD, None, f"c{version}", version)


@pytest.mark.parametrize(
    ("missing", "orders"),
    [(0, []), (1, ["new"]), (3, ["new"]), (4, ["new", "middle"]), (6, ["new", "middle", "old"]), (99, None)],
)
def test_the_newest_holds_give_way_until_nothing_is_missing(missing: int, orders: list[str] | None) -> None:
    held = [("middle", _hold(2, 5)), ("old", _hold(4, 3)), ("new", _hold(2, 9)), ("new", _hold(1, 8))]
    assert giving_way(held, missing) == (["new", "middle", "old"] if orders is None else orders)


class Sku:
    """The stock of one SKU, told what is done to it."""

    def __init__(self) -> None:
        self.rows, self.number = InventoryTables({}, {}, {}), 0

    def do(self, body: Any) -> list[tuple[str, str, Any]]:
        """What is sent to orders.commands: (order, id, body)."""
        self.number += 1
        type_ = wire_type(type(body))
        envelope = Envelope(f"c{self.number}", type_, "/tally/sagas", "inventory", "SKU", None, AT, "a", "c")
        out = handle(Message(envelope, body), self.rows, AT)
        sent = [sent.message for sent in out if sent.topic == "orders.commands"]
        return [(message.envelope.subject, message.envelope.id, message.body) for message in sent]


def _short() -> Sku:
    sku = Sku()
    for body in (ReceiveStock(10), *(ReserveStock(order, 1, 3) for order in ("o1", "o2", "o3"))):
        assert sku.do(body) == []
    return sku


def test_an_adjustment_below_what_is_held_cancels_the_orders_that_came_last() -> None:
    cancelled = _short().do(AdjustStock(-5, "water damage"))
    assert [(order, body) for order, _, body in cancelled] == [
        ("o3", CancelOrder("STOCK_SHORTAGE")),
        ("o2", CancelOrder("STOCK_SHORTAGE")),
    ]


def test_an_order_is_asked_under_one_id_however_often_its_sku_runs_short() -> None:
    sku = _short()
    [first] = sku.do(AdjustStock(-2, "lost"))
    assert sku.do(AdjustStock(-1, "lost"))[:1] == [first]


def test_who_gave_way_ends_the_shortage() -> None:
    sku = _short()
    sku.do(AdjustStock(-2, "lost"))
    sku.do(ReleaseStock("o3", 1))
    assert sku.do(AdjustStock(-1, "lost")) == []
    assert sku.rows.levels["SKU"]["reserved"] == 6


def test_one_that_was_shipped_all_the_same_leaves_the_next_newest_to_give_way() -> None:
    sku = _short()
    assert [order for order, _, _ in sku.do(AdjustStock(-2, "lost"))] == ["o3"]
    assert [order for order, _, _ in sku.do(ShipStock("o3", 1))] == ["o2"]


def test_a_sku_that_is_short_still_is_asked_for_again_under_the_same_ids() -> None:
    sku = _short()
    first = sku.do(AdjustStock(-5, "water damage"))
    again = relieve_again(["SKU", "SKU", "unheard of"], sku.rows.levels, sku.rows.holds, "/tally/inventory", AT)
    assert [(out.message.envelope.subject, out.message.envelope.id, out.message.body) for out in again] == first
    for order in ("o3", "o2"):
        sku.do(ReleaseStock(order, 1))
    assert relieve_again(["SKU"], sku.rows.levels, sku.rows.holds, "/tally/inventory", AT) == []
