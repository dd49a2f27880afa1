"""The order saga's rules: the way through, refusals, cancels, shipping, deadlines, repeats."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from schemas.envelope import Message
from schemas.messages import (
    ActOnSaga,
    AuthorisePayment,
    CapturePayment,
    CommandAnswered,
    ConfirmOrder,
    DeadlinePassed,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    OrderLinesReturned,
    OrderRejected,
    OrderShipped,
    RefundPayment,
    RejectOrder,
    ReleaseStock,
    ReserveStock,
    ReturnedLine,
    ReturnStock,
    SagaActed,
    SagaCompensationStarted,
    SagaEnded,
    SagaStarted,
    SagaStepAnswered,
    SagaStepStarted,
    ShipStock,
    VoidPayment,
)
from streams.sagas.order import decide, evolve, initial
from streams.sagas.state import OrderSaga, Status, from_row, to_row
from streams.scenario import MOMENT, message

CREATED = OrderCreated("customer", "GBP", (OrderLine(1, "A", 2, 150), OrderLine(2, "B", 1, 50)), 350, "card", "tok_ok")


class Play:
    """One saga on a stage of its own: says inputs, remembers commands and events."""

    def __init__(self) -> None:
        self.saga: OrderSaga = initial()
        self.at: datetime = MOMENT
        self.commands: list[tuple[str, Any]] = []
        self.events: list[Any] = []
        self.asks: list[tuple[str, int]] = []
        self.attempts: list[int] = []

    def hear(self, body: Any, after_s: float = 0, version: int | None = None) -> list[Any]:
        self.at += timedelta(seconds=after_s)
        decision = decide(self.saga, message(body, "o1", version), self.at)
        for event in decision.events:
            heard: Message = message(event, "o1", self.saga.version + 1)
            self.saga = evolve(self.saga, heard)
            assert from_row(to_row(self.saga)) == self.saga
        self.events += decision.events
        self.commands += [(command.subject, command.body) for command in decision.commands]
        self.asks += [(command.step.name, command.line) for command in decision.commands if command.asks]
        self.attempts = [command.attempt for command in decision.commands]
        return [command.body for command in decision.commands]

    def answer(
        self, type_: str, outcome: str = "DONE", line: int | None = None, reason: str | None = None
    ) -> list[Any]:
        return self.hear(CommandAnswered("id", type_, outcome, reason, line))

    def late(self, step: str) -> list[Any]:
        return self.hear(DeadlinePassed(step, dict(self.saga.due)[step]))


def created() -> Play:
    play = Play()
    play.hear(CREATED)
    return play


def reserved() -> Play:
    play = created()
    play.answer("RESERVE_STOCK", line=1)
    play.answer("RESERVE_STOCK", line=2)
    return play


def confirming() -> Play:
    play = reserved()
    play.answer("AUTHORISE_PAYMENT")
    return play


def confirmed() -> Play:
    play = confirming()
    play.hear(OrderConfirmed())
    play.answer("CAPTURE_PAYMENT")
    return play


def test_an_order_is_reserved_line_by_line_all_at_once() -> None:
    play = Play()
    assert play.hear(CREATED) == [ReserveStock("o1", 1, 2), ReserveStock("o1", 2, 1)]
    assert [subject for subject, _ in play.commands] == ["A", "B"]
    started, step = play.events
    assert isinstance(started, SagaStarted)
    assert started.ends_by == MOMENT + timedelta(seconds=60)
    assert step == SagaStepStarted("reserve", MOMENT + timedelta(seconds=10))


def test_the_whole_way_of_a_good_order() -> None:
    play = created()
    assert play.answer("RESERVE_STOCK", line=2) == []
    assert play.answer("RESERVE_STOCK", line=1) == [AuthorisePayment(350, "GBP", "card", "tok_ok")]
    assert play.answer("AUTHORISE_PAYMENT") == [ConfirmOrder()]
    assert play.hear(OrderConfirmed()) == [CapturePayment()]
    assert play.answer("CONFIRM_ORDER") == []
    assert play.answer("CAPTURE_PAYMENT") == []
    assert play.events[-1] == SagaEnded("CONFIRMED")
    assert (play.saga.summary, play.saga.due) == ("CONFIRMED", ())


def test_the_reply_of_confirm_is_as_good_as_the_event() -> None:
    play = confirming()
    assert play.answer("CONFIRM_ORDER") == [CapturePayment()]
    assert play.hear(OrderConfirmed()) == []


def test_a_refused_line_waits_for_the_others_then_releases_them_and_rejects() -> None:
    play = created()
    assert play.answer("RESERVE_STOCK", "REFUSED", 1, "INSUFFICIENT_STOCK") == []
    assert play.answer("RESERVE_STOCK", line=2) == [ReleaseStock("o1", 2), RejectOrder("INSUFFICIENT_STOCK")]
    play.answer("RELEASE_STOCK", line=2)
    play.hear(OrderRejected("INSUFFICIENT_STOCK"))
    assert play.events[-1] == SagaEnded("REJECTED", "INSUFFICIENT_STOCK")


def test_where_several_lines_are_refused_the_lowest_gives_the_reason_whichever_came_first() -> None:
    play = created()
    play.answer("RESERVE_STOCK", "REFUSED", 2, "UNKNOWN_SKU")
    assert play.answer("RESERVE_STOCK", "REFUSED", 1, "INSUFFICIENT_STOCK") == [RejectOrder("INSUFFICIENT_STOCK")]


def test_a_declined_payment_releases_every_line_and_voids_nothing() -> None:
    play = reserved()
    assert play.answer("AUTHORISE_PAYMENT", "REFUSED", reason="PAYMENT_DECLINED") == [
        ReleaseStock("o1", 1),
        ReleaseStock("o1", 2),
        RejectOrder("PAYMENT_DECLINED"),
    ]


def test_a_rejected_order_ends_only_when_all_is_undone() -> None:
    play = reserved()
    play.answer("AUTHORISE_PAYMENT", "REFUSED", reason="PAYMENT_DECLINED")
    play.answer("REJECT_ORDER")
    play.answer("RELEASE_STOCK", line=1)
    assert play.saga.status is Status.COMPENSATING
    play.answer("RELEASE_STOCK", line=2)
    assert play.events[-1] == SagaEnded("REJECTED", "PAYMENT_DECLINED")


def test_a_late_reservation_is_asked_for_then_times_out_and_releases_what_may_still_come() -> None:
    play = created()
    play.answer("RESERVE_STOCK", line=1)
    assert play.late("reserve") == [ReserveStock("o1", 2, 1)]
    assert play.asks == [("reserve", 2)]
    assert play.late("reserve") == [ReleaseStock("o1", 1), ReleaseStock("o1", 2), RejectOrder("TIMED_OUT")]
    assert play.answer("RESERVE_STOCK", line=2) == []


def test_a_late_authorisation_is_asked_for_then_times_out_and_is_voided() -> None:
    play = reserved()
    play.late("authorise")
    assert play.asks == [("authorise", 0)]
    assert play.late("authorise") == [
        VoidPayment("TIMED_OUT"),
        ReleaseStock("o1", 1),
        ReleaseStock("o1", 2),
        RejectOrder("TIMED_OUT"),
    ]
    assert play.answer("AUTHORISE_PAYMENT") == []


def test_a_late_confirmation_is_asked_for_again_at_a_growing_distance() -> None:
    play = confirming()
    first = dict(play.saga.due)["confirm"]
    play.at = first
    assert play.late("confirm") == [ConfirmOrder()]
    assert dict(play.saga.due)["confirm"] - first == timedelta(seconds=20)


def test_once_confirm_was_sent_the_order_decides_between_it_and_the_deadline() -> None:
    play = confirming()
    assert play.late("order") == [RejectOrder("TIMED_OUT")]
    assert play.hear(OrderConfirmed()) == [CapturePayment()]
    assert play.answer("REJECT_ORDER", "REFUSED", reason="CONFIRMED") == []
    play.answer("CAPTURE_PAYMENT")
    assert play.events[-1] == SagaEnded("CONFIRMED")


def test_nothing_is_released_after_confirm_until_the_order_shows_rejected() -> None:
    play = confirming()
    play.late("order")
    assert play.answer("CONFIRM_ORDER", "REFUSED", reason="REJECTED") == []
    assert play.hear(OrderRejected("TIMED_OUT")) == [
        VoidPayment("TIMED_OUT"),
        ReleaseStock("o1", 1),
        ReleaseStock("o1", 2),
    ]
    for type_, line in (("VOID_PAYMENT", None), ("RELEASE_STOCK", 1), ("RELEASE_STOCK", 2)):
        play.answer(type_, line=line)
    assert play.events[-1] == SagaEnded("REJECTED", "TIMED_OUT")


def test_the_orders_deadline_before_confirm_compensates() -> None:
    play = reserved()
    assert RejectOrder("TIMED_OUT") in play.late("order")


@pytest.mark.parametrize("stage", [created, reserved, confirming, confirmed])
def test_a_cancelled_order_releases_everything_at_any_stage(stage: Any) -> None:
    play = stage()
    commands = play.hear(OrderCancelled("changed my mind"))
    assert [c for c in commands if isinstance(c, ReleaseStock)] == [ReleaseStock("o1", 1), ReleaseStock("o1", 2)]
    assert (VoidPayment("changed my mind") in commands) == (stage is not created)
    assert not any(isinstance(c, RejectOrder) for c in commands)
    for line in (1, 2):
        play.answer("RELEASE_STOCK", line=line)
    play.answer("VOID_PAYMENT")
    assert play.events[-1] == SagaEnded("CANCELLED", "changed my mind")
    assert play.saga.lines == ()


def test_a_cancel_during_a_rejection_ends_as_the_order_ended() -> None:
    play = created()
    play.late("reserve")
    play.late("reserve")
    play.answer("REJECT_ORDER", "REFUSED", reason="CANCELLED")
    play.hear(OrderCancelled("changed my mind"))
    for line in (1, 2):
        play.answer("RELEASE_STOCK", line=line)
    assert play.events[-1].outcome == "CANCELLED"


def test_an_order_that_a_person_confirmed_too_early_is_shown_as_stuck_when_it_cannot_be_kept() -> None:
    play = created()
    play.hear(OrderConfirmed())
    play.answer("RESERVE_STOCK", line=1)
    assert RejectOrder("UNKNOWN_SKU") in play.answer("RESERVE_STOCK", "REFUSED", 2, "UNKNOWN_SKU")
    play.answer("RELEASE_STOCK", line=1)
    play.answer("REJECT_ORDER", "REFUSED", reason="CONFIRMED")
    assert play.saga.summary == "STUCK"
    play.hear(OrderCancelled("could not be kept"))
    assert play.events[-1].outcome == "CANCELLED"


def test_a_shipped_order_ships_every_line_and_ends_shipped() -> None:
    play = confirmed()
    assert play.hear(OrderShipped()) == [ShipStock("o1", 1), ShipStock("o1", 2)]
    assert play.hear(OrderShipped()) == []
    play.answer("SHIP_STOCK", line=1)
    play.answer("SHIP_STOCK", line=2)
    assert play.events[-1] == SagaEnded("SHIPPED")


def test_an_order_shipped_before_its_capture_ends_when_both_are_answered() -> None:
    play = confirming()
    play.hear(OrderConfirmed())
    play.hear(OrderShipped())
    play.answer("SHIP_STOCK", line=1)
    play.answer("SHIP_STOCK", line=2)
    assert not play.saga.outcome
    play.answer("CAPTURE_PAYMENT")
    assert play.events[-1] == SagaEnded("SHIPPED")


def test_a_refused_capture_is_stuck_and_shown_until_a_person_acts() -> None:
    play = confirming()
    play.hear(OrderConfirmed())
    play.answer("CAPTURE_PAYMENT", "REFUSED", reason="EXPIRED_CARD")
    assert play.saga.summary == "STUCK"
    assert play.saga.stuck is not None
    assert play.saga.stuck.reason == "EXPIRED_CARD"
    assert VoidPayment("given up") in play.hear(OrderCancelled("given up"))
    assert play.saga.summary == "COMPENSATING"


def test_a_late_compensation_asks_again_only_for_what_lacks() -> None:
    play = reserved()
    play.late("authorise")
    play.late("authorise")
    play.answer("RELEASE_STOCK", line=1)
    assert play.late("release") == [ReleaseStock("o1", 2)]
    assert play.late("void") == [VoidPayment("TIMED_OUT")]


def test_a_deadline_that_was_moved_or_met_says_nothing() -> None:
    play = created()
    due = dict(play.saga.due)["reserve"]
    play.answer("RESERVE_STOCK", line=1)
    play.answer("RESERVE_STOCK", line=2)
    assert play.hear(DeadlinePassed("reserve", due)) == []
    assert play.hear(DeadlinePassed("authorise", due - timedelta(seconds=1))) == []
    assert SagaCompensationStarted("TIMED_OUT") not in play.events


@pytest.mark.parametrize(
    "stranger",
    [OrderConfirmed(), OrderCancelled("x"), CommandAnswered("id", "CAPTURE_PAYMENT", "DONE"), OrderShipped()],
)
def test_an_input_of_an_unknown_order_says_nothing(stranger: Any) -> None:
    play = Play()
    assert play.hear(stranger) == []
    assert play.saga == initial()


def test_every_input_heard_twice_says_nothing_new() -> None:
    play, twice = created(), created()
    twice.hear(CREATED)
    for type_, line in (("RESERVE_STOCK", 1), ("RESERVE_STOCK", 2), ("AUTHORISE_PAYMENT", None)):
        play.answer(type_, line=line)
        twice.answer(type_, line=line)
        twice.answer(type_, line=line)
    assert twice.events == play.events
    assert twice.commands == play.commands


def test_a_command_type_that_no_step_sends_is_no_answer() -> None:
    play = created()
    assert play.answer("SELL_THE_SHOP") == []
    assert not any(isinstance(event, SagaStepAnswered) for event in play.events)


def test_a_late_step_that_was_done_all_the_same_goes_on() -> None:
    play = reserved()
    play.late("authorise")
    assert play.answer("AUTHORISE_PAYMENT") == [ConfirmOrder()]


def test_a_late_step_of_which_its_participant_knows_nothing_is_undone_at_once() -> None:
    play = reserved()
    play.late("authorise")
    assert VoidPayment("TIMED_OUT") in play.answer("AUTHORISE_PAYMENT", "UNDECIDED")


def test_nothing_undecided_is_heard_of_a_step_that_was_not_asked_for() -> None:
    play = reserved()
    assert play.answer("AUTHORISE_PAYMENT", "UNDECIDED") == []
    assert play.saga.status is Status.RUNNING


def test_what_fails_for_now_is_tried_again_under_another_id_after_a_growing_pause() -> None:
    play = reserved()
    pauses = []
    for attempt in range(1, 5):
        assert play.answer("AUTHORISE_PAYMENT", "TRANSIENT", reason="BUSY") == []
        pauses.append(dict(play.saga.due)["again:authorise"] - play.at)
        assert play.late("again:authorise") == [AuthorisePayment(350, "GBP", "card", "tok_ok")]
        assert play.attempts == [attempt]
    assert timedelta(milliseconds=200) <= pauses[0]
    assert pauses == sorted(pauses)
    assert play.answer("AUTHORISE_PAYMENT") == [ConfirmOrder()]


def test_what_fails_for_now_until_its_time_is_over_is_undone() -> None:
    play = reserved()
    play.answer("AUTHORISE_PAYMENT", "TRANSIENT", reason="BUSY")
    assert VoidPayment("TIMED_OUT") in play.late("authorise")


def test_a_refused_compensation_is_tried_again_without_end_and_shown() -> None:
    play = reserved()
    play.answer("AUTHORISE_PAYMENT", "REFUSED", reason="PAYMENT_DECLINED")
    play.hear(OrderRejected("PAYMENT_DECLINED"))
    play.answer("RELEASE_STOCK", line=1)
    for attempt in range(1, 40):
        play.answer("RELEASE_STOCK", "REFUSED", 2, "OUT_OF_PAPER")
        assert play.saga.summary == "STUCK"
        assert dict(play.saga.due)["again:release"] - play.at <= timedelta(seconds=30)
        assert play.late("again:release") == [ReleaseStock("o1", 2)]
        assert play.attempts == [attempt]
    play.answer("RELEASE_STOCK", line=2)
    assert play.events[-1] == SagaEnded("REJECTED", "PAYMENT_DECLINED")


def _stuck_at_capture() -> Play:
    play = confirming()
    play.hear(OrderConfirmed())
    play.answer("CAPTURE_PAYMENT", "REFUSED", reason="EXPIRED_CARD")
    return play


def test_an_operator_retries_a_refused_capture_under_another_id() -> None:
    play = _stuck_at_capture()
    assert play.hear(ActOnSaga("RETRY", "ann", "card was renewed")) == [CapturePayment()]
    assert play.attempts == [1]
    play.answer("CAPTURE_PAYMENT")
    assert play.events[-1] == SagaEnded("CONFIRMED")
    assert SagaActed("RETRY", "ann", "card was renewed") in play.events


def test_an_operator_skips_a_step_with_a_reason_and_the_saga_goes_on() -> None:
    play = _stuck_at_capture()
    play.hear(ActOnSaga("SKIP", "ann", "paid in cash", "capture"))
    assert play.events[-1] == SagaEnded("CONFIRMED")


@pytest.mark.parametrize("step", ["reserve", "authorise", "confirm", "reject", "no such step", None])
def test_what_may_not_be_skipped_is_not(step: str | None) -> None:
    play = created()
    assert play.hear(ActOnSaga("SKIP", "ann", "in a hurry", step)) == []
    assert not any(isinstance(event, SagaActed) for event in play.events)


def test_an_operator_gives_up_an_order_before_the_pivot_and_after_it_only_asks() -> None:
    play = reserved()
    assert RejectOrder("fraud") in play.hear(ActOnSaga("COMPENSATE", "ann", "fraud"))
    later = confirming()
    assert [type(body) for body in later.hear(ActOnSaga("COMPENSATE", "ann", "fraud"))] == [RejectOrder]


def test_a_remark_changes_nothing_else() -> None:
    play = confirmed()
    before = play.saga
    play.hear(ActOnSaga("ANNOTATE", "ann", "called the customer"))
    assert (play.saga.status, play.saga.outcome, play.saga.due) == (before.status, before.outcome, before.due)
    assert play.events[-1] == SagaActed("ANNOTATE", "ann", "called the customer")


def test_an_operator_completes_an_order_that_stands_and_its_participants_hear_of_it_all_the_same() -> None:
    play = confirming()
    play.hear(OrderConfirmed())
    assert play.hear(ActOnSaga("COMPLETE", "ann", "paid in cash")) == []
    assert play.events[-1] == SagaEnded("CONFIRMED")
    assert SagaActed("COMPLETE", "ann", "paid in cash") in play.events


def test_an_operator_completes_compensations_once_the_order_has_ended_otherwise() -> None:
    play = reserved()
    play.answer("AUTHORISE_PAYMENT", "REFUSED", reason="PAYMENT_DECLINED")
    early = list(play.events)
    play.hear(ActOnSaga("COMPLETE", "ann", "in a hurry"))
    assert play.events == early
    play.hear(OrderRejected("PAYMENT_DECLINED"))
    play.hear(ActOnSaga("COMPLETE", "ann", "counted by hand"))
    assert play.events[-1] == SagaEnded("REJECTED", "PAYMENT_DECLINED")


def test_nothing_is_completed_before_the_order_stands() -> None:
    for play in (created(), reserved(), confirming()):
        assert play.hear(ActOnSaga("COMPLETE", "ann", "in a hurry")) == []
        assert not any(isinstance(event, SagaActed) for event in play.events)


def shipped() -> Play:
    play = confirmed()
    play.hear(OrderShipped())
    play.answer("SHIP_STOCK", line=1)
    play.answer("SHIP_STOCK", line=2)
    return play


ONE_BACK = OrderLinesReturned((ReturnedLine(1, 1, "A"),), 150)
BOTH_BACK = OrderLinesReturned((ReturnedLine(1, 1, "A"), ReturnedLine(2, 1, "B")), 200)


def test_returned_lines_are_refunded_and_restocked_and_the_saga_ends_shipped_again() -> None:
    play = shipped()
    assert play.hear(BOTH_BACK, version=4) == [
        RefundPayment(200, "RETURNED", 4),
        ReturnStock("o1", 1, 1, 1),
        ReturnStock("o1", 2, 1, 2),
    ]
    assert [subject for subject, _ in play.commands[-3:]] == ["o1", "A", "B"]
    play.answer("RETURN_STOCK", line=1)
    play.answer("REFUND_PAYMENT", line=4)
    assert play.saga.summary == "RUNNING"
    play.answer("RETURN_STOCK", line=2)
    assert play.events[-1] == SagaEnded("SHIPPED")
    assert (play.saga.due, play.saga.refunds, play.saga.restocks) == ((), (), ())


def test_a_return_that_comes_again_says_nothing_new() -> None:
    play = shipped()
    play.hear(ONE_BACK, version=4)
    assert play.hear(ONE_BACK, version=4) == []
    play.answer("RETURN_STOCK", line=1)
    play.answer("REFUND_PAYMENT", line=4)
    before = play.saga
    assert play.hear(ONE_BACK, version=4) == []
    assert play.saga == before


def test_a_second_return_joins_one_that_is_under_way_under_numbers_of_its_own() -> None:
    play = shipped()
    play.hear(ONE_BACK, version=4)
    play.answer("REFUND_PAYMENT", line=4)
    commands = play.hear(ONE_BACK, version=5)
    assert RefundPayment(150, "RETURNED", 5) in commands
    assert ReturnStock("o1", 1, 1, 2) in commands
    for number in (1, 2):
        play.answer("RETURN_STOCK", line=number)
    play.answer("REFUND_PAYMENT", line=5)
    assert play.events[-1] == SagaEnded("SHIPPED")


def test_a_return_waits_until_the_goods_have_left_and_the_money_was_taken() -> None:
    play = confirming()
    play.hear(OrderConfirmed())
    play.hear(OrderShipped())
    assert play.hear(ONE_BACK, version=4) == []
    play.answer("SHIP_STOCK", line=1)
    play.answer("SHIP_STOCK", line=2)
    assert play.answer("CAPTURE_PAYMENT") == [RefundPayment(150, "RETURNED", 4), ReturnStock("o1", 1, 1, 1)]


def test_goods_that_cost_nothing_come_back_without_a_refund() -> None:
    assert shipped().hear(OrderLinesReturned((ReturnedLine(1, 1, "A"),), 0), version=4) == [ReturnStock("o1", 1, 1, 1)]


def test_a_late_refund_is_asked_for_again_and_a_refused_one_waits_for_a_person() -> None:
    play = shipped()
    play.hear(ONE_BACK, version=4)
    play.answer("RETURN_STOCK", line=1)
    assert play.late("refund") == [RefundPayment(150, "RETURNED", 4)]
    play.answer("REFUND_PAYMENT", "REFUSED", 4, "PROVIDER_SAYS_VOIDED")
    assert play.saga.summary == "STUCK"
    assert play.hear(ActOnSaga("RETRY", "ann", "asked the bank")) == [RefundPayment(150, "RETURNED", 4)]
    assert play.attempts == [2]
    play.answer("REFUND_PAYMENT", "REFUSED", 4, "PROVIDER_SAYS_VOIDED")
    play.hear(ActOnSaga("SKIP", "ann", "paid in cash", "refund"))
    assert play.events[-1] == SagaEnded("SHIPPED")
