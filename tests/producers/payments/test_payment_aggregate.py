"""What a payment may become, and what the provider's word makes of it."""

from __future__ import annotations

import pytest

from producers.payments.aggregate import (
    AUTHORISE,
    CAPTURE,
    GIVE_BACK,
    REFUND,
    ProviderResult,
    decide_refund,
    decide_result,
    payment_aggregate,
)
from producers.testing import given
from schemas.messages import (
    AuthorisePayment,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequested,
    PaymentVoided,
    RefundPayment,
    VoidPayment,
)

PAYMENT = payment_aggregate("o1")
TOLD = ("o1", 1530, "GBP", "tok_ok")
ASK = AuthorisePayment(1530, "GBP", "card", "tok_ok")
REQUESTED, AUTHORISED, CAPTURED = PaymentRequested(*TOLD), PaymentAuthorised(*TOLD), PaymentCaptured(*TOLD)
DECLINED = PaymentDeclined(*TOLD, "PAYMENT_DECLINED")
VOIDED, REFUNDED = PaymentVoided(*TOLD, "TIMED_OUT"), PaymentRefunded(*TOLD, "TIMED_OUT")
VOID = VoidPayment("TIMED_OUT")
PAID = (REQUESTED, AUTHORISED, CAPTURED)


def part(amount_minor: int, number: int = 4) -> RefundPayment:
    return RefundPayment(amount_minor, "RETURNED", number)


def back(amount_minor: int, number: int | None = 4) -> PaymentRefunded:
    return PaymentRefunded("o1", amount_minor, "GBP", "tok_ok", "RETURNED", number)


def test_an_authorisation_is_requested_first_and_asked_of_the_provider() -> None:
    given(PAYMENT).when(ASK).then_asks(AUTHORISE, REQUESTED)


def test_asking_again_changes_nothing() -> None:
    given(PAYMENT, REQUESTED).when(ASK).then_asks(AUTHORISE)
    given(PAYMENT, REQUESTED, AUTHORISED).when(ASK).then_nothing()
    given(PAYMENT, REQUESTED, AUTHORISED, CAPTURED).when(ASK).then_nothing()


def test_what_was_declined_or_voided_is_not_authorised() -> None:
    given(PAYMENT, REQUESTED, DECLINED).when(ASK).then_refused("PAYMENT_DECLINED")
    given(PAYMENT, REQUESTED, VOIDED).when(ASK).then_refused("PAYMENT_IS_VOIDED")


def test_a_wallet_is_asked_nothing_before_the_order_is_confirmed() -> None:
    given(PAYMENT).when(AuthorisePayment(1530, "GBP", "wallet", "w1")).then_nothing()


def test_a_card_that_goes_by_the_name_of_a_wallet_is_declined() -> None:
    told = ("o1", 1530, "GBP", "wallet/c1")
    declined = PaymentDeclined(*told, "PAYMENT_DECLINED")
    command = AuthorisePayment(1530, "GBP", "card", "wallet/c1")
    given(PAYMENT).when(command).then_refused("PAYMENT_DECLINED", PaymentRequested(*told), declined)


def test_only_an_authorised_payment_is_captured() -> None:
    given(PAYMENT, REQUESTED, AUTHORISED).when(CapturePayment()).then_asks(CAPTURE)
    given(PAYMENT, REQUESTED, AUTHORISED, CAPTURED).when(CapturePayment()).then_nothing()
    given(PAYMENT).when(CapturePayment()).then_refused("UNKNOWN_PAYMENT")
    given(PAYMENT, REQUESTED).when(CapturePayment()).then_refused("PAYMENT_IS_REQUESTED")
    given(PAYMENT, REQUESTED, VOIDED).when(CapturePayment()).then_refused("PAYMENT_IS_VOIDED")


@pytest.mark.parametrize("history", [(REQUESTED,), (REQUESTED, AUTHORISED), (REQUESTED, AUTHORISED, CAPTURED)])
def test_what_may_have_cost_money_is_given_back_by_the_provider(history: tuple[object, ...]) -> None:
    given(PAYMENT, *history).when(VOID).then_asks(GIVE_BACK)


@pytest.mark.parametrize("last", [DECLINED, VOIDED, REFUNDED])
def test_what_cost_nothing_needs_no_void(last: object) -> None:
    given(PAYMENT, REQUESTED, last).when(VOID).then_nothing()


def test_a_void_before_its_authorisation_is_a_fence() -> None:
    fenced = given(PAYMENT).when(VOID).then(PaymentVoided("o1", 0, "", "", "TIMED_OUT"))
    fenced.when(ASK).then_refused("PAYMENT_IS_VOIDED")


@pytest.mark.parametrize(
    ("history", "status", "events"),
    [
        ((REQUESTED,), "AUTHORISED", (AUTHORISED,)),
        ((REQUESTED,), "DECLINED", (DECLINED,)),
        ((REQUESTED,), "VOIDED", (VOIDED,)),
        ((REQUESTED,), "CAPTURED", (AUTHORISED, CAPTURED)),
        ((REQUESTED, AUTHORISED), "AUTHORISED", ()),
        ((REQUESTED, AUTHORISED), "CAPTURED", (CAPTURED,)),
        ((REQUESTED, AUTHORISED), "VOIDED", (VOIDED,)),
        ((REQUESTED, AUTHORISED), "REFUNDED", (CAPTURED, REFUNDED)),
        ((REQUESTED, AUTHORISED, CAPTURED), "REFUNDED", (REFUNDED,)),
        ((REQUESTED, VOIDED), "AUTHORISED", ()),
        ((), "AUTHORISED", ()),
    ],
)
def test_the_providers_word_becomes_events(
    history: tuple[object, ...], status: str, events: tuple[object, ...]
) -> None:
    state = given(PAYMENT, *history).state
    assert decide_result(state, ProviderResult(status), "TIMED_OUT", "o1") == events


def test_a_word_that_contradicts_our_books_is_no_event() -> None:
    state = given(PAYMENT, REQUESTED, AUTHORISED).state
    with pytest.raises(ValueError, match="DECLINED"):
        decide_result(state, ProviderResult("DECLINED"), "", "o1")


def test_a_part_of_captured_money_is_given_back_by_the_provider_once_a_return() -> None:
    given(PAYMENT, *PAID).when(part(500)).then_asks(REFUND)
    given(PAYMENT, *PAID, back(500)).when(part(500)).then_nothing()
    given(PAYMENT, *PAID, back(500)).when(part(500, number=5)).then_asks(REFUND)


def test_no_more_goes_back_than_was_paid() -> None:
    given(PAYMENT, *PAID, back(500)).when(part(1031, number=5)).then_refused("REFUNDED_TOO_MUCH")
    given(PAYMENT, *PAID).when(part(0)).then_refused("INVALID_AMOUNT")


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        ((), "UNKNOWN_PAYMENT"),
        ((REQUESTED, AUTHORISED), "PAYMENT_IS_AUTHORISED"),
        ((REQUESTED, VOIDED), "PAYMENT_IS_VOIDED"),
        ((*PAID, REFUNDED), "PAYMENT_IS_REFUNDED"),
    ],
)
def test_what_is_not_captured_is_not_refunded_in_parts(history: tuple[object, ...], reason: str) -> None:
    given(PAYMENT, *history).when(part(1)).then_refused(reason)


def test_a_payment_is_refunded_when_nothing_is_left_of_it() -> None:
    partly = given(PAYMENT, *PAID, back(500)).state
    assert (partly.status, partly.left_minor) == ("CAPTURED", 1030)
    assert given(PAYMENT, *PAID, back(500), back(1030, 5)).state.status == "REFUNDED"


def test_what_is_left_after_a_part_is_all_that_can_be_given_back() -> None:
    state = given(PAYMENT, *PAID, back(500)).state
    [event] = decide_result(state, ProviderResult("REFUNDED"), "RETURNED", "o1")
    assert event == back(1030, None)


def test_the_providers_word_of_a_part_becomes_one_event() -> None:
    paid = given(PAYMENT, *PAID)
    assert decide_refund(paid.state, ProviderResult("PART_REFUNDED"), part(500), "o1") == (back(500),)
    assert decide_refund(paid.state, ProviderResult("REFUNDED"), part(500), "o1") == ()
    again = given(PAYMENT, *PAID, back(500)).state
    assert decide_refund(again, ProviderResult("PART_REFUNDED"), part(500), "o1") == ()


def test_a_snapshot_of_before_there_were_parts_is_read() -> None:
    state = given(PAYMENT, *PAID).state
    kept = {name: value for name, value in PAYMENT.form.to_json(state).items() if name != "refunds"}
    assert PAYMENT.form.load(kept, 1) == state


@pytest.mark.parametrize("last", [AUTHORISED, DECLINED, VOIDED, REFUNDED, CAPTURED, back(500)])
def test_a_snapshot_holds_the_whole_state(last: object) -> None:
    state = given(PAYMENT, REQUESTED, last).state
    assert PAYMENT.form.load(PAYMENT.form.to_json(state), PAYMENT.form.version) == state


def test_a_foreign_command_is_no_command_of_a_payment() -> None:
    with pytest.raises(TypeError, match="no command of a payment"):
        given(PAYMENT).when(object())
