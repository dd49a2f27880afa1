"""What holds of a SKU's stock whatever commands come, in whatever order, however often."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.envelope import Envelope, Message
from schemas.messages import (
    AdjustStock,
    ReceiveStock,
    ReleaseStock,
    ReserveStock,
    ReturnStock,
    ShipStock,
    StockAdjusted,
    StockReceived,
    StockReserved,
    StockReturned,
    StockShipped,
    wire_type,
)
from streams.inventory.commands import InventoryTables, handle
from streams.replay.folding import Folded, fold

AT = datetime(2026, 5, 1, tzinfo=UTC)
ORDERS, LINES = st.sampled_from(["a", "b", "c"]), st.integers(1, 2)

bodies = st.one_of(
    st.builds(ReserveStock, ORDERS, LINES, st.integers(-1, 8)),
    st.builds(ReleaseStock, ORDERS, LINES),
    st.builds(ShipStock, ORDERS, LINES),
    st.builds(ReturnStock, ORDERS, LINES, st.integers(-1, 4), st.integers(1, 3)),
    st.builds(ReceiveStock, st.integers(-1, 10)),
    st.builds(AdjustStock, st.integers(-10, 10), st.just("count")),
)
# An index into what came before repeats that command.
steps = st.lists(st.one_of(bodies, st.integers(0, 50)), max_size=60)


def _command(body: Any, number: int) -> Message:
    type_ = wire_type(type(body))
    return Message(Envelope(f"c{number}", type_, "/tally/sagas", "inventory", "SKU", None, AT, "x", "x"), body)


def _run(wishes: list[Any]) -> tuple[InventoryTables, list[Message]]:
    rows, events, commands = InventoryTables({}, {}, {}), [], []
    for number, wish in enumerate(wishes):
        if not isinstance(wish, int):
            commands.append(_command(wish, number))
        if not commands:
            continue
        command = commands[wish % len(commands)] if isinstance(wish, int) else commands[-1]
        for sent in handle(command, rows, AT):
            if sent.topic == "inventory.events":
                events.append(sent.message)
                level = sent.message.body
                assert level.on_hand >= 0
                assert level.reserved >= 0
                if isinstance(level, StockReserved):
                    assert level.reserved <= level.on_hand, "oversold"
    return rows, events


@given(steps)
@settings(max_examples=300, deadline=None)
def test_stock_is_never_oversold_and_every_unit_is_explained(wishes: list[Any]) -> None:
    rows, events = _run(wishes)
    level = rows.levels.get("SKU", {"on_hand": 0, "reserved": 0, "version": 0})
    held = [row["quantity"] for row in rows.holds.values() if row["status"] == "HELD"]
    assert level["reserved"] == sum(held)
    moved: Counter[type] = Counter()
    for event in events:
        moved[type(event.body)] += getattr(event.body, "quantity", 0)
    assert level["on_hand"] == (
        moved[StockReceived] + moved[StockAdjusted] + moved[StockReturned] - moved[StockShipped]
    )
    assert moved[StockReturned] <= moved[StockShipped]
    assert [event.envelope.version for event in events] == list(range(1, level["version"] + 1))


@given(steps)
@settings(max_examples=200, deadline=None)
def test_the_rows_are_the_fold_of_the_events(wishes: list[Any]) -> None:
    rows, events = _run(wishes)
    folded = Folded()
    for event in events:
        fold(folded, "inventory.events", event)
    assert folded.stock_levels == rows.levels
    assert folded.holds == rows.holds


@given(st.lists(bodies, max_size=30))
@settings(max_examples=200, deadline=None)
def test_hearing_every_command_twice_changes_nothing(wishes: list[Any]) -> None:
    twice = [entry for index, wish in enumerate(wishes) for entry in (wish, index)]
    assert _run(twice)[0].levels == _run(wishes)[0].levels


@given(ORDERS, LINES, st.permutations(["reserve", "release", "release", "reserve"]))
def test_a_reservation_and_its_release_in_any_order_leave_nothing_held(order: str, line: int, order_of: Any) -> None:
    by_name = {"reserve": ReserveStock(order, line, 2), "release": ReleaseStock(order, line)}
    rows, _ = _run([ReceiveStock(5), *(by_name[name] for name in order_of), by_name["release"]])
    assert rows.levels["SKU"]["reserved"] == 0
