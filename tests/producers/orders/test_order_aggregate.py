"""What an order may become."""

from __future__ import annotations

import pytest

from producers.orders.aggregate import CANCELLED, ORDERS, Order
from producers.testing import given
from schemas.messages import (
    CancelOrder,
    ConfirmOrder,
    CreateOrder,
    LineToReturn,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    OrderLinesReturned,
    OrderRejected,
    OrderShipped,
    RejectOrder,
    ReturnedLine,
    ReturnOrderLines,
    ShipOrder,
)

LINES = (OrderLine(1, "85123A", 6, 255), OrderLine(2, "85123A", 2, 100))
CREATE = CreateOrder("12345", "GBP", LINES, "card", "tok_ok")
CREATED = OrderCreated("12345", "GBP", LINES, 1730, "card", "tok_ok")
REJECTED = OrderRejected("INSUFFICIENT_STOCK")
CANCELLED_BY_CUSTOMER = OrderCancelled("CUSTOMER")
SHIPPED = (CREATED, OrderConfirmed(), OrderShipped())
RETURNED = OrderLinesReturned((ReturnedLine(1, 4, "85123A"), ReturnedLine(2, 1, "85123A")), 4 * 255 + 100)


def test_an_order_is_created_with_the_total_of_its_lines() -> None:
    given(ORDERS).when(CREATE).then(CREATED)


def test_an_order_is_created_once() -> None:
    given(ORDERS, CREATED).when(CREATE).then_refused("ORDER_EXISTS")


@pytest.mark.parametrize(
    "command",
    [ConfirmOrder(), RejectOrder("X"), CancelOrder("X"), ShipOrder(), ReturnOrderLines((LineToReturn(1, 1),))],
)
def test_what_does_not_exist_cannot_change(command: object) -> None:
    given(ORDERS).when(command).then_refused("UNKNOWN_ORDER")


def test_an_order_goes_its_whole_way() -> None:
    (
        given(ORDERS)
        .when(CREATE)
        .then(CREATED)
        .when(ConfirmOrder())
        .then(OrderConfirmed())
        .when(ShipOrder())
        .then(OrderShipped())
    )


def test_confirming_again_changes_nothing() -> None:
    given(ORDERS, CREATED, OrderConfirmed()).when(ConfirmOrder()).then_nothing()
    given(ORDERS, CREATED, OrderConfirmed(), OrderShipped()).when(ConfirmOrder()).then_nothing()


def test_a_late_confirm_is_refused_once_the_order_ended_otherwise() -> None:
    given(ORDERS, CREATED, REJECTED).when(ConfirmOrder()).then_refused("ORDER_IS_REJECTED")
    given(ORDERS, CREATED, CANCELLED_BY_CUSTOMER).when(ConfirmOrder()).then_refused("ORDER_IS_CANCELLED")


def test_a_confirmed_order_is_not_rejected_any_more() -> None:
    given(ORDERS, CREATED, OrderConfirmed()).when(RejectOrder("TIMED_OUT")).then_refused("ORDER_IS_CONFIRMED")


def test_an_order_is_cancelled_before_and_after_its_confirmation() -> None:
    given(ORDERS, CREATED).when(CancelOrder("CUSTOMER")).then(CANCELLED_BY_CUSTOMER)
    given(ORDERS, CREATED, OrderConfirmed()).when(CancelOrder("CUSTOMER")).then(CANCELLED_BY_CUSTOMER)


def test_what_is_shipped_or_rejected_is_not_cancelled() -> None:
    shipped = given(ORDERS, CREATED, OrderConfirmed(), OrderShipped())
    shipped.when(CancelOrder("CUSTOMER")).then_refused("ORDER_IS_SHIPPED")
    given(ORDERS, CREATED, REJECTED).when(CancelOrder("CUSTOMER")).then_refused("ORDER_IS_REJECTED")


def test_only_a_confirmed_order_is_shipped() -> None:
    given(ORDERS, CREATED).when(ShipOrder()).then_refused("ORDER_IS_CREATED")
    given(ORDERS, CREATED, CANCELLED_BY_CUSTOMER).when(ShipOrder()).then_refused("ORDER_IS_CANCELLED")


@pytest.mark.parametrize(
    "events",
    [
        (),
        (CREATED,),
        (CREATED, OrderConfirmed()),
        (*SHIPPED, RETURNED),
        (CREATED, REJECTED),
        (CREATED, CANCELLED_BY_CUSTOMER),
    ],
)
def test_a_snapshot_holds_the_whole_state(events: tuple[object, ...]) -> None:
    state = given(ORDERS, *events).state
    assert ORDERS.form.load(ORDERS.form.to_json(state), ORDERS.form.version) == state


def returned(*lines: tuple[int, int]) -> ReturnOrderLines:
    return ReturnOrderLines(tuple(LineToReturn(*line) for line in lines))


def test_lines_come_back_at_the_price_that_was_paid_and_the_status_stays() -> None:
    scenario = given(ORDERS, *SHIPPED).when(returned((2, 1), (1, 4))).then(RETURNED)
    assert (scenario.state.status, scenario.state.returned) == ("SHIPPED", ((1, 4), (2, 1)))


def test_what_is_left_of_a_line_can_come_back_later_and_no_more() -> None:
    left = given(ORDERS, *SHIPPED, RETURNED)
    left.when(returned((1, 3))).then_refused("RETURNED_TOO_MUCH")
    rest = left.when(returned((1, 2))).then(OrderLinesReturned((ReturnedLine(1, 2, "85123A"),), 510))
    rest.when(returned((1, 1))).then_refused("RETURNED_TOO_MUCH")


def test_a_line_that_stands_twice_counts_with_the_sum() -> None:
    both = given(ORDERS, *SHIPPED)
    both.when(returned((1, 2), (1, 2))).then(OrderLinesReturned((ReturnedLine(1, 4, "85123A"),), 1020))
    both.when(returned((1, 4), (1, 4))).then_refused("RETURNED_TOO_MUCH")


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        ((CREATED,), "ORDER_IS_CREATED"),
        ((CREATED, OrderConfirmed()), "ORDER_IS_CONFIRMED"),
        ((CREATED, REJECTED), "ORDER_IS_REJECTED"),
        ((CREATED, CANCELLED_BY_CUSTOMER), "ORDER_IS_CANCELLED"),
    ],
)
def test_nothing_comes_back_that_did_not_leave(history: tuple[object, ...], reason: str) -> None:
    given(ORDERS, *history).when(returned((1, 1))).then_refused(reason)


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (returned((3, 1)), "UNKNOWN_LINE"),
        (returned((0, 1)), "UNKNOWN_LINE"),
        (returned((1, 7)), "RETURNED_TOO_MUCH"),
        (returned((1, 0)), "INVALID_QUANTITY"),
        (returned((1, 5), (1, -2)), "INVALID_QUANTITY"),
        (returned(), "NOTHING_RETURNED"),
    ],
)
def test_a_wrong_return_is_refused_with_its_reason(wish: ReturnOrderLines, reason: str) -> None:
    given(ORDERS, *SHIPPED).when(wish).then_refused(reason)


def test_a_snapshot_of_before_there_were_returns_is_read() -> None:
    state = given(ORDERS, *SHIPPED).state
    kept = {name: value for name, value in ORDERS.form.to_json(state).items() if name != "returned"}
    assert ORDERS.form.load(kept, 2) == state


def test_a_cancelled_order_keeps_its_reason() -> None:
    state = given(ORDERS, CREATED, CANCELLED_BY_CUSTOMER).state
    assert state == Order(CANCELLED, "CUSTOMER", "12345", "GBP", 1730, LINES, "card")


def test_a_foreign_command_is_no_command_of_an_order() -> None:
    with pytest.raises(TypeError, match="no command of an order"):
        given(ORDERS, CREATED).when(object())
