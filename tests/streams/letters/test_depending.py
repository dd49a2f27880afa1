"""What waits for what: events by aggregate, commands of stock by their fence, the rest for nothing."""

from __future__ import annotations

from schemas.messages import OrderShipped, ReceiveStock, ReserveStock
from schemas.topics import DEAD_LETTERS_COMMANDS, INVENTORY_COMMANDS, ORDERS_EVENTS, SAGAS_REPLIES
from streams.letters.depending import depends_on
from streams.scenario import message


def test_events_and_answers_wait_by_their_key_whether_they_can_be_read_or_not() -> None:
    shipped = message(OrderShipped(), "o1")
    assert depends_on(ORDERS_EVENTS, shipped, b"o1") == depends_on(SAGAS_REPLIES, None, b"o1") == "o1"


def test_a_record_without_a_key_is_alone() -> None:
    assert depends_on(ORDERS_EVENTS, None, None) is None


def test_commands_of_stock_wait_by_order_and_line_so_that_no_sku_freezes() -> None:
    first, second = (message(ReserveStock("o1", line, 1), "A") for line in (1, 2))
    assert depends_on(INVENTORY_COMMANDS, first, b"A") != depends_on(INVENTORY_COMMANDS, second, b"A") is not None


def test_a_command_of_stock_without_a_fence_or_that_cannot_be_read_is_alone() -> None:
    assert depends_on(INVENTORY_COMMANDS, message(ReceiveStock(1), "A"), b"A") is None
    assert depends_on(INVENTORY_COMMANDS, None, b"A") is None


def test_nothing_waits_for_an_act_on_letters() -> None:
    assert depends_on(DEAD_LETTERS_COMMANDS, None, b"x") is None
