"""The rules of one SKU's stock, command by command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from schemas.envelope import Message
from schemas.messages import (
    AdjustStock,
    ReceiveStock,
    ReleaseStock,
    ReservationFenced,
    ReservationRefused,
    ReservationReleased,
    ReserveStock,
    ReturnStock,
    ShipStock,
    StockAdjusted,
    StockReceived,
    StockReserved,
    StockReturned,
    StockShipped,
    StockShortage,
)
from streams.inventory import stock as rules
from streams.inventory.stock import HoldStatus, Stock
from streams.scenario import Scenario

RECEIVED_10 = StockReceived(10, None, 10, 0)
HELD_4 = StockReserved("o", 1, 4, 10, 4)


class _OneHold:
    """Stock of a SKU of which only one order line wants anything."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str | None]] = []

    def initial(self) -> Stock:
        return rules.initial()

    def decide(self, state: Stock, message: Message) -> Sequence[Any]:
        decision = rules.decide(state, message.body)
        self.answers.append((decision.outcome.value, decision.reason))
        return decision.events

    def evolve(self, state: Stock, event: Message) -> Stock:
        return rules.evolve(state, event)


def _given(*events: Any) -> tuple[Scenario[Stock], list[tuple[str, str | None]]]:
    one = _OneHold()
    return Scenario(one, "SKU").given(*events), one.answers


def test_a_reservation_of_what_is_available_is_held() -> None:
    scenario, answers = _given(RECEIVED_10)
    scenario.when(ReserveStock("o", 1, 4)).then(HELD_4)
    assert answers == [("DONE", None)]
    assert scenario.state.hold is not None
    assert scenario.state.hold.status is HoldStatus.HELD
    assert scenario.state.level.available == 6


def test_all_that_is_available_can_be_reserved() -> None:
    _given(RECEIVED_10)[0].when(ReserveStock("o", 1, 10)).then(StockReserved("o", 1, 10, 10, 10))


def test_a_reservation_beyond_what_is_available_is_refused() -> None:
    scenario, answers = _given(RECEIVED_10)
    scenario.when(ReserveStock("o", 1, 11)).then(ReservationRefused("o", 1, 11, "INSUFFICIENT_STOCK", 10, 0))
    assert answers == [("REFUSED", "INSUFFICIENT_STOCK")]


def test_a_sku_that_was_never_received_is_unknown() -> None:
    scenario, answers = _given()
    scenario.when(ReserveStock("o", 1, 1)).then(ReservationRefused("o", 1, 1, "UNKNOWN_SKU", 0, 0))
    assert answers == [("REFUSED", "UNKNOWN_SKU")]


def test_a_sku_that_only_refusals_and_fences_speak_of_stays_unknown() -> None:
    scenario, _ = _given(ReservationFenced("p", 1, 0, "RELEASED_BEFORE_RESERVED", 0, 0))
    scenario.state = Stock(scenario.state.level)
    scenario.when(ReserveStock("o", 1, 1)).then(ReservationRefused("o", 1, 1, "UNKNOWN_SKU", 0, 0))


def test_a_sold_out_sku_is_known_and_short() -> None:
    scenario, _ = _given(RECEIVED_10, StockAdjusted(-10, "lost", 0, 0))
    scenario.when(ReserveStock("o", 1, 1)).then(ReservationRefused("o", 1, 1, "INSUFFICIENT_STOCK", 0, 0))


@pytest.mark.parametrize("quantity", [0, -3, 1_000_001])
def test_an_invalid_quantity_is_refused_and_changes_no_count(quantity: int) -> None:
    scenario, _ = _given(RECEIVED_10)
    scenario.when(ReserveStock("o", 1, quantity)).then(ReservationRefused("o", 1, quantity, "INVALID_QUANTITY", 10, 0))


def test_a_quantity_of_80995_works() -> None:
    _given(StockReceived(80_995, None, 80_995, 0))[0].when(ReserveStock("o", 1, 80_995)).then(
        StockReserved("o", 1, 80_995, 80_995, 80_995)
    )


def test_a_second_reservation_of_the_same_line_changes_nothing() -> None:
    scenario, answers = _given(RECEIVED_10)
    scenario.when(ReserveStock("o", 1, 4), ReserveStock("o", 1, 4)).then(HELD_4)
    assert answers == [("DONE", None)] * 2


def test_a_refused_line_stays_refused_when_stock_comes_in() -> None:
    scenario, answers = _given(RECEIVED_10)
    scenario.when(ReserveStock("o", 1, 11), ReceiveStock(90)).when(ReserveStock("o", 1, 11)).then()
    assert answers[-1] == ("REFUSED", "INSUFFICIENT_STOCK")


def test_a_release_gives_the_units_back_once() -> None:
    scenario, answers = _given(RECEIVED_10, HELD_4)
    released = ReservationReleased("o", 1, 4, 10, 0)
    scenario.when(ReleaseStock("o", 1), ReleaseStock("o", 1)).then(released)
    assert answers == [("DONE", None)] * 2


def test_a_reservation_after_its_release_is_refused() -> None:
    scenario, answers = _given(RECEIVED_10, HELD_4, ReservationReleased("o", 1, 4, 10, 0))
    scenario.when(ReserveStock("o", 1, 4)).then()
    assert answers == [("REFUSED", "ALREADY_RELEASED")]


def test_a_release_before_its_reservation_is_a_fence_that_refuses_it() -> None:
    scenario, answers = _given(RECEIVED_10)
    fenced = ReservationFenced("o", 1, 0, "RELEASED_BEFORE_RESERVED", 10, 0)
    scenario.when(ReleaseStock("o", 1), ReserveStock("o", 1, 4), ReleaseStock("o", 1)).then(fenced)
    assert answers == [("DONE", None), ("REFUSED", "RELEASED_BEFORE_RESERVED"), ("DONE", None)]
    assert scenario.state.level.reserved == 0


def test_a_release_of_a_refused_line_has_nothing_to_do() -> None:
    scenario, answers = _given(RECEIVED_10)
    scenario.when(ReserveStock("o", 1, 11)).when(ReleaseStock("o", 1)).then()
    assert answers[-1] == ("DONE", None)


def test_shipping_lowers_on_hand_and_hold_in_one_step_and_once() -> None:
    scenario, answers = _given(RECEIVED_10, HELD_4)
    scenario.when(ShipStock("o", 1), ShipStock("o", 1)).then(StockShipped("o", 1, 4, 6, 0))
    assert answers == [("DONE", None)] * 2


def test_what_is_not_held_cannot_be_shipped() -> None:
    scenario, answers = _given(RECEIVED_10)
    scenario.when(ShipStock("o", 1)).then()
    assert answers == [("REFUSED", "NOT_HELD")]


def test_what_was_shipped_cannot_be_released() -> None:
    scenario, answers = _given(RECEIVED_10, HELD_4, StockShipped("o", 1, 4, 6, 0))
    scenario.when(ReleaseStock("o", 1)).then()
    assert answers == [("REFUSED", "ALREADY_SHIPPED")]


SHIPPED_4 = StockShipped("o", 1, 4, 6, 0)
BACK_3 = StockReturned("o", 1, 3, "RETURNED", 9, 0, 1)


def test_what_was_shipped_comes_back_once_a_number() -> None:
    scenario, answers = _given(RECEIVED_10, HELD_4, SHIPPED_4)
    scenario.when(ReturnStock("o", 1, 3, 1)).then(BACK_3)
    scenario.when(ReturnStock("o", 1, 3, 1)).then()
    scenario.when(ReturnStock("o", 1, 1, 2)).then(StockReturned("o", 1, 1, "RETURNED", 10, 0, 2))
    assert answers == [("DONE", None)] * 3


def test_no_more_comes_back_than_left() -> None:
    scenario, answers = _given(RECEIVED_10, HELD_4, SHIPPED_4, BACK_3)
    scenario.when(ReturnStock("o", 1, 2, 2), ReturnStock("o", 1, 0, 3)).then()
    assert answers == [("REFUSED", "RETURNED_TOO_MUCH"), ("REFUSED", "INVALID_QUANTITY")]


@pytest.mark.parametrize("history", [(), (HELD_4,), (HELD_4, ReservationReleased("o", 1, 4, 10, 0))])
def test_what_did_not_leave_does_not_come_back(history: tuple[Any, ...]) -> None:
    scenario, answers = _given(RECEIVED_10, *history)
    scenario.when(ReturnStock("o", 1, 1, 1)).then()
    assert answers == [("REFUSED", "NOT_SHIPPED")]


def test_shipping_lowers_what_is_on_hand_and_what_is_held_in_one_step() -> None:
    scenario, _ = _given(RECEIVED_10, HELD_4)
    scenario.when(ShipStock("o", 1)).then(SHIPPED_4)
    assert (scenario.state.level.on_hand, scenario.state.level.reserved) == (6, 0)


def test_an_adjustment_below_what_is_held_is_a_shortage() -> None:
    scenario, _ = _given(RECEIVED_10, HELD_4)
    scenario.when(AdjustStock(-8, "water damage")).then(StockAdjusted(-8, "water damage", 2, 4), StockShortage(2, 2, 4))
    assert scenario.state.level.available == 0


def test_nothing_new_is_reserved_during_a_shortage() -> None:
    scenario, answers = _given(RECEIVED_10, HELD_4, StockAdjusted(-8, "lost", 2, 4), StockShortage(2, 2, 4))
    scenario.state = Stock(scenario.state.level)
    scenario.when(ReserveStock("p", 1, 1)).then(ReservationRefused("p", 1, 1, "INSUFFICIENT_STOCK", 2, 4))
    assert answers[-1][0] == "REFUSED"


def test_shipping_in_a_shortage_explains_the_units_that_were_found() -> None:
    scenario, _ = _given(RECEIVED_10, HELD_4, StockAdjusted(-8, "lost", 2, 4), StockShortage(2, 2, 4))
    scenario.when(ShipStock("o", 1)).then(
        StockAdjusted(2, "SHIPPED_DESPITE_SHORTAGE", 4, 4), StockShipped("o", 1, 4, 0, 0)
    )


def test_an_adjustment_below_zero_is_refused_as_an_answer() -> None:
    scenario, answers = _given(RECEIVED_10)
    scenario.when(AdjustStock(-11, "lost")).then()
    assert answers == [("REFUSED", "BELOW_ZERO")]


@pytest.mark.parametrize("command", [ReceiveStock(0), ReceiveStock(-5), ReceiveStock(10**10), AdjustStock(0, "none")])
def test_a_movement_of_an_invalid_quantity_is_refused_as_an_answer(command: Any) -> None:
    scenario, answers = _given(RECEIVED_10)
    scenario.when(command).then()
    assert answers == [("REFUSED", "INVALID_QUANTITY")]


def test_a_receipt_and_an_adjustment_move_what_is_on_hand() -> None:
    scenario, _ = _given()
    scenario.when(ReceiveStock(5, "first"), AdjustStock(-2, "broken")).then(
        StockReceived(5, "first", 5, 0), StockAdjusted(-2, "broken", 3, 0)
    )
    assert scenario.state.level.version == 2


def test_a_message_that_is_no_command_of_stock_is_a_broken_promise() -> None:
    with pytest.raises(TypeError):
        rules.decide(rules.initial(), RECEIVED_10)  # type: ignore[arg-type]
