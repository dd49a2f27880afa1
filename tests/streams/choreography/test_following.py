"""Followers of the choreographed flow: what each owes, and that nothing heard late or twice changes it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from schemas.messages import (
    AuthorisePayment,
    CapturePayment,
    ConfirmOrder,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    OrderShipped,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentVoided,
    RejectOrder,
    ReleaseStock,
    ReservationRefused,
    ReservationReleased,
    ReserveStock,
    ShipStock,
    StockReserved,
    VoidPayment,
)
from streams.choreography.following import Orders, hear, look_again
from streams.choreography.owing import FOLLOWERS
from streams.scenario import MOMENT, message

CREATED = OrderCreated("customer", "GBP", (OrderLine(1, "A", 2, 150), OrderLine(2, "B", 1, 50)), 350, "card", "tok_ok")
AUTHORISED = PaymentAuthorised("o1", 350, "GBP", "tok_ok")


class Stage:
    """All three followers; `hear` gives what they send, by key."""

    def __init__(self) -> None:
        self.orders: dict[str, Orders] = {follower.name: {} for follower in FOLLOWERS}
        self.at: datetime = MOMENT
        self.version = 0

    def hear(self, body: Any, subject: str = "o1") -> list[Any]:
        self.version += 1
        event = message(body, subject, self.version)
        sent = [out for one in FOLLOWERS for out in hear(one, self.orders[one.name], event, self.at)]
        again = [out for one in FOLLOWERS for out in hear(one, self.orders[one.name], event, self.at)]
        assert again == []
        return [out.message.body for out in sent]

    def pass_time(self, name: str, seconds: float) -> list[tuple[str, Any]]:
        self.at += timedelta(seconds=seconds)
        (follower,) = [one for one in FOLLOWERS if one.name == name]
        sent = look_again(follower, self.orders[name], "o1", self.at)
        return [(out.message.envelope.id, out.message.body) for out in sent]


def held() -> Stage:
    stage = Stage()
    stage.hear(CREATED)
    stage.hear(StockReserved("o1", 1, 2, 5, 2), "A")
    stage.hear(StockReserved("o1", 2, 1, 5, 1), "B")
    return stage


def test_an_order_goes_its_way_from_event_to_event() -> None:
    stage = Stage()
    assert stage.hear(CREATED) == [ReserveStock("o1", 1, 2), ReserveStock("o1", 2, 1)]
    assert stage.hear(StockReserved("o1", 1, 2, 5, 2), "A") == []
    assert stage.hear(StockReserved("o1", 2, 1, 5, 1), "B") == [AuthorisePayment(350, "GBP", "card", "tok_ok")]
    assert stage.hear(AUTHORISED) == [ConfirmOrder()]
    assert stage.hear(OrderConfirmed()) == [CapturePayment()]
    assert stage.hear(PaymentCaptured("o1", 350, "GBP", "tok_ok")) == []
    assert stage.hear(OrderShipped()) == [ShipStock("o1", 1), ShipStock("o1", 2)]


def test_a_refused_line_rejects_and_then_everything_is_given_back() -> None:
    stage = Stage()
    stage.hear(CREATED)
    stage.hear(StockReserved("o1", 1, 2, 5, 2), "A")
    refused = ReservationRefused("o1", 2, 1, "INSUFFICIENT_STOCK", 0, 0)
    assert stage.hear(refused, "B") == [RejectOrder("INSUFFICIENT_STOCK")]
    assert stage.hear(OrderCancelled("changed my mind")) == [ReleaseStock("o1", 1), VoidPayment("changed my mind")]


def test_a_declined_payment_rejects() -> None:
    assert held().hear(PaymentDeclined("o1", 350, "GBP", "tok_ok", "x")) == [RejectOrder("PAYMENT_DECLINED")]


def test_what_is_owed_is_sent_again_under_ids_of_its_own_until_events_show_it() -> None:
    stage = held()
    stage.hear(AUTHORISED)
    stage.hear(OrderCancelled("X"))
    first, second = stage.pass_time("stock", 10), stage.pass_time("stock", 20)
    assert [body for _, body in first] == [body for _, body in second] == [ReleaseStock("o1", 1), ReleaseStock("o1", 2)]
    assert {id_ for id_, _ in first}.isdisjoint(id_ for id_, _ in second)
    stage.hear(ReservationReleased("o1", 1, 2, 5, 0), "A")
    stage.hear(StockReserved("o1", 1, 2, 5, 2), "A")  # comes late: the hold is gone all the same
    assert [body for _, body in stage.pass_time("stock", 40)] == [ReleaseStock("o1", 2)]
    stage.hear(ReservationReleased("o1", 2, 1, 5, 0), "B")
    stage.hear(PaymentVoided("o1", 350, "GBP", "tok_ok", "X"))
    assert [orders["o1"].due_at for orders in stage.orders.values()] == [None, None, None]


def test_an_order_whose_time_is_over_is_rejected_by_the_follower_that_watches_it() -> None:
    stage = held()
    assert stage.orders["orders"]["o1"].due_at == MOMENT + timedelta(seconds=60)
    assert [body for _, body in stage.pass_time("orders", 60)] == [RejectOrder("TIMED_OUT")]


def test_events_that_come_before_the_order_itself_are_not_lost() -> None:
    stage = Stage()
    stage.hear(StockReserved("o1", 1, 2, 5, 2), "A")
    stage.hear(StockReserved("o1", 2, 1, 5, 1), "B")
    assert stage.hear(CREATED) == [AuthorisePayment(350, "GBP", "card", "tok_ok")]
