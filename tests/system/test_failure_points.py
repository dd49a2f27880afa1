"""The 17 points at which the well-known orders example for Kafka Streams loses its way (C1 to C17), each as ours.

Pure and in memory: the same rules run in the worker and in the services, and their crashes are tested where they live
(`tests/streams/worker`, `tests/connectors`, `tests/system/test_kills.py`).
"""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
from faust_rdkafka.options import Options, producer_config
from pydantic import ValidationError

from producers.api.bodies import NewOrder
from producers.errors import CommandIdReused
from producers.orders.aggregate import ORDERS
from producers.orders.service import OrderService, Origin
from producers.store.memory import MemoryEventStore
from producers.testing import given
from schemas.messages import (
    AdjustStock,
    AuthorisePayment,
    CapturePayment,
    CommandAnswered,
    ConfirmOrder,
    CreateOrder,
    DeadlinePassed,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    OrderRejected,
    ReceiveStock,
    RejectOrder,
    ReleaseStock,
    ReserveStock,
    ShipStock,
    VoidPayment,
)
from schemas.topics import EVENT_TOPICS, ORDERS_EVENTS, TOPICS
from streams.inventory.commands import InventoryTables, handle
from streams.outgoing import Outgoing
from streams.read_models.table_of_tables import read_model
from streams.sagas.inputs import SagaInputs
from streams.sagas.state import from_row
from streams.scenario import MOMENT, message

LINES = (OrderLine(1, "A", 2, 150), OrderLine(2, "B", 1, 50))
CREATED = OrderCreated("customer", "GBP", LINES, 350, "card", "tok_ok")
CREATE = CreateOrder("customer", "GBP", LINES, "card", "tok_ok")


class Shop:
    """Stock and sagas as their agents keep them: rows, and what was sent by type."""

    def __init__(self, **on_hand: int) -> None:
        self.stock = InventoryTables({}, {}, {})
        self.sagas: dict[str, Any] = {}
        self.at = MOMENT
        self.said = 0
        for sku, quantity in on_hand.items():
            self.to_stock(ReceiveStock(quantity), sku)

    def to_stock(self, body: Any, sku: str, id_: str | None = None) -> list[Outgoing]:
        self.said += 1
        return handle(message(body, sku, id_=id_ or f"command {self.said}"), self.stock, self.at)

    def to_saga(self, body: Any, order_id: str = "o1") -> list[Any]:
        """Bodies of the commands that follow."""
        self.said += 1
        inputs = SagaInputs(self.sagas, self.at)
        out = inputs.handle(message(body, order_id, id_=f"input {self.said}"))
        inputs.save()
        return [sent.message.body for sent in out if sent.topic.endswith("commands")]

    def answer(
        self, type_: str, outcome: str = "DONE", line: int | None = None, reason: str | None = None
    ) -> list[Any]:
        return self.to_saga(CommandAnswered("id", type_, outcome, reason, line))

    def pass_time(self) -> list[Any]:
        """The next timer of the saga."""
        timer, self.at = min(from_row(self.sagas["o1"]).due, key=lambda due: due[1])
        return self.to_saga(DeadlinePassed(timer, self.at))

    def level(self, sku: str) -> tuple[int, int]:
        """On hand and reserved."""
        row = self.stock.levels[sku]
        return row["on_hand"], row["reserved"]

    def outcome(self) -> tuple[str, str | None]:
        saga = from_row(self.sagas["o1"])
        return saga.summary, saga.reason


def placed() -> Shop:
    shop = Shop(A=5, B=5)
    for command in shop.to_saga(CREATED):
        shop.to_stock(command, "A" if command.line == 1 else "B")
    return shop


def held() -> Shop:
    shop = placed()
    shop.answer("RESERVE_STOCK", line=1)
    shop.answer("RESERVE_STOCK", line=2)
    return shop


def test_c1_what_is_reserved_falls_again_when_goods_ship_in_the_step_that_lowers_what_is_on_hand() -> None:
    shop = Shop(A=5)
    shop.to_stock(ReserveStock("o1", 1, 3), "A")
    assert shop.level("A") == (5, 3)
    (event,) = shop.to_stock(ShipStock("o1", 1), "A")
    assert shop.level("A") == (event.message.body.on_hand, event.message.body.reserved) == (2, 0)


def test_c2_a_later_refusal_gives_back_every_hold() -> None:
    shop = held()
    commands = shop.answer("AUTHORISE_PAYMENT", "REFUSED", reason="PAYMENT_DECLINED")
    for command in commands:
        if isinstance(command, ReleaseStock):
            shop.to_stock(command, "A" if command.line == 1 else "B")
    assert (shop.level("A"), shop.level("B")) == ((5, 0), (5, 0))


def test_c3_a_reservation_that_comes_again_after_a_crash_counts_once() -> None:
    shop = Shop(A=5)
    crashed = copy.deepcopy(shop.stock)
    handle(message(ReserveStock("o1", 1, 3), "A", id_="r"), crashed, MOMENT)  # its transaction never commits
    assert shop.to_stock(ReserveStock("o1", 1, 3), "A", "r") != []
    assert shop.to_stock(ReserveStock("o1", 1, 3), "A", "r") == []
    assert shop.level("A") == (5, 3)


def test_c4_a_repeated_post_is_one_order_and_no_client_says_what_its_status_is() -> None:
    service = OrderService(MemoryEventStore())
    origin = Origin("caller", "POST /orders", "key")
    first, again = service.place(origin, CREATE), service.place(origin, CREATE)
    assert first == again
    assert service.version(first[0]) == 1
    with pytest.raises(CommandIdReused):
        service.place(origin, CreateOrder("another", "GBP", LINES, "card", "tok_ok"))
    with pytest.raises(ValidationError, match="status"):
        NewOrder.model_validate({"status": "CONFIRMED"})


def test_c5_an_unknown_sku_is_refused_at_once_and_rejects_its_order() -> None:
    shop = Shop()
    (refused,) = shop.to_stock(ReserveStock("o1", 1, 2), "A")
    assert refused.message.body.reason == "UNKNOWN_SKU"
    shop.to_saga(CREATED)
    shop.answer("RESERVE_STOCK", "REFUSED", 1, "UNKNOWN_SKU")
    assert RejectOrder("UNKNOWN_SKU") in shop.answer("RESERVE_STOCK", line=2)


def test_c6_a_participant_that_never_answers_does_not_leave_an_order_without_an_end() -> None:
    shop = held()
    sent: list[Any] = []
    while RejectOrder("TIMED_OUT") not in sent:
        sent += shop.pass_time()
    assert shop.at - MOMENT <= timedelta(seconds=60)


def test_c7_one_answer_that_comes_three_times_stands_for_no_other() -> None:
    shop = placed()
    for _ in range(3):
        assert shop.answer("RESERVE_STOCK", line=1) == []
    assert [type(body) for body in shop.answer("RESERVE_STOCK", line=2)] == [AuthorisePayment]
    assert shop.answer("RESERVE_STOCK", line=2) == []


def test_c8_no_late_message_turns_a_rejected_order_into_a_confirmed_one_or_the_reverse() -> None:
    given(ORDERS, CREATED, OrderRejected("X")).when(ConfirmOrder()).then_refused("ORDER_IS_REJECTED")
    given(ORDERS, CREATED, OrderConfirmed()).when(RejectOrder("X")).then_refused("ORDER_IS_CONFIRMED")
    row = read_model("orders").evolve(None, message(CREATED, "o1", 1))
    confirmed = message(OrderConfirmed(), "o1", 2)
    row = read_model("orders").evolve(row, confirmed)
    late = read_model("orders").evolve(row, message(CREATED, "o1", 1))
    assert (late or row)["status"] == "CONFIRMED"


def test_c9_a_technical_error_is_tried_again_and_in_the_end_decided() -> None:
    shop = held()
    shop.answer("AUTHORISE_PAYMENT", "TRANSIENT", reason="NOT_WELL")
    assert [type(body) for body in shop.pass_time()] == [AuthorisePayment]
    shop.answer("AUTHORISE_PAYMENT", "TRANSIENT", reason="NOT_WELL")
    sent: list[Any] = []
    while RejectOrder("TIMED_OUT") not in sent:
        sent += shop.pass_time()
        if from_row(shop.sagas["o1"]).troubles == ():
            shop.answer("AUTHORISE_PAYMENT", "TRANSIENT", reason="NOT_WELL")


@pytest.mark.parametrize("quantity", [0, -1, -1_000_000])
def test_c10_a_quantity_below_one_is_refused_before_it_has_any_effect(quantity: int) -> None:
    with pytest.raises(ValidationError, match="quantity"):
        NewOrder.model_validate({"lines": [{"sku": "A", "quantity": quantity, "unit_price_minor": 1}]})
    shop = Shop(A=5)
    shop.to_stock(ReserveStock("o1", 1, quantity), "A")
    assert shop.level("A") == (5, 0)


def test_c11_stock_changes_by_movements_so_that_no_count_overwrites_another() -> None:
    shop = Shop(A=5)
    shop.to_stock(ReserveStock("o1", 1, 3), "A")
    shop.to_stock(AdjustStock(-1, "one writer's count"), "A")
    shop.to_stock(ReceiveStock(4), "A")
    assert shop.level("A") == (8, 3)


def test_c12_an_order_has_all_of_its_lines_or_none() -> None:
    shop = Shop(A=5, B=0)
    for command in shop.to_saga(CREATED):
        shop.to_stock(command, "A" if command.line == 1 else "B")
    shop.answer("RESERVE_STOCK", line=1)
    commands = shop.answer("RESERVE_STOCK", "REFUSED", 2, "INSUFFICIENT_STOCK")
    assert ReleaseStock("o1", 1) in commands
    shop.to_stock(ReleaseStock("o1", 1), "A")
    assert shop.level("A") == (5, 0)


def test_c13_payment_is_a_step_of_the_order_authorised_before_and_captured_after_it_stands_and_given_back() -> None:
    shop = held()
    assert shop.answer("AUTHORISE_PAYMENT") == [ConfirmOrder()]
    assert shop.to_saga(OrderConfirmed()) == [CapturePayment()]
    shop.answer("CAPTURE_PAYMENT")
    assert shop.outcome() == ("CONFIRMED", None)
    assert VoidPayment("changed my mind") in shop.to_saga(OrderCancelled("changed my mind"))


def test_c14_orders_that_failed_count_against_nobody() -> None:
    shop = Shop(A=5, B=5)
    for number in range(20):
        shop.to_stock(ReserveStock(f"failed {number}", 1, 5), "A")
        shop.to_stock(ReleaseStock(f"failed {number}", 1), "A")
    shop.to_stock(ReserveStock("o1", 1, 5), "A")
    assert shop.level("A") == (5, 5)


def test_c15_a_restart_goes_on_from_the_rows_that_it_finds_and_wipes_nothing() -> None:
    shop, restarted = held(), held()
    restarted.sagas = {key: copy.deepcopy(row) for key, row in shop.sagas.items()}
    assert restarted.answer("AUTHORISE_PAYMENT") == shop.answer("AUTHORISE_PAYMENT") == [ConfirmOrder()]
    assert restarted.sagas == shop.sagas


def test_c16_each_worker_slot_has_a_transactional_id_of_its_own_and_keeps_it() -> None:
    ids = [producer_config(Options(instance=slot), {}, "tally")["transactional.id"] for slot in ("w-0", "w-1", "w-0")]
    assert ids == ["tally-w-0", "tally-w-1", "tally-w-0"]


def test_c17_event_topics_hold_what_happened_for_ever_and_any_version_can_be_seen_again() -> None:
    assert ORDERS_EVENTS in EVENT_TOPICS
    assert {(TOPICS[name].cleanup, TOPICS[name].retention_ms) for name in EVENT_TOPICS} == {("delete", -1)}
    history = [CREATED, OrderConfirmed(), OrderCancelled("X")]
    seen = []
    state = ORDERS.initial
    for event in history:
        state = ORDERS.evolve(state, event)
        seen.append(state.status)
    assert seen == ["CREATED", "CONFIRMED", "CANCELLED"]


def test_all_seventeen_points_are_here() -> None:
    points = {int(name.split("_")[1][1:]) for name in globals() if name.startswith("test_c")}
    assert points == set(range(1, 18))
