"""What holds of the order saga whatever it hears, in whatever order, however often."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.messages import (
    ActOnSaga,
    CommandAnswered,
    DeadlinePassed,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    OrderLinesReturned,
    OrderRejected,
    OrderShipped,
    ReleaseStock,
    ReturnedLine,
    SagaEnded,
    VoidPayment,
)
from streams.sagas.order import decide, evolve, initial
from streams.sagas.state import OrderSaga, Status, from_row, to_row
from streams.sagas.steps import STEP_BY_COMMAND_TYPE
from streams.scenario import MOMENT, message

CREATED = OrderCreated("customer", "GBP", (OrderLine(1, "A", 2, 150), OrderLine(2, "B", 1, 50)), 350, "card", "tok_ok")
LATE = "late"
BACK = OrderLinesReturned((ReturnedLine(1, 1, "A"), ReturnedLine(2, 1, "B")), 200)

inputs = st.one_of(
    st.just(CREATED),
    st.sampled_from([OrderConfirmed(), OrderRejected("no"), OrderCancelled("changed"), OrderShipped(), BACK]),
    st.builds(
        CommandAnswered,
        st.just("id"),
        st.sampled_from(sorted(STEP_BY_COMMAND_TYPE)),
        st.sampled_from(["DONE", "DONE", "REFUSED", "TRANSIENT", "UNDECIDED"]),
        st.just("because"),
        st.sampled_from([None, 1, 2, 3]),
    ),
    st.builds(
        ActOnSaga,
        st.sampled_from(["RETRY", "COMPENSATE", "ANNOTATE", "DANCE"]),
        st.just("ann"),
        st.just("because"),
    ),
    st.just(LATE),
)


def _hear(saga: OrderSaga, body: Any, number: int) -> tuple[OrderSaga, Any]:
    at = MOMENT + timedelta(seconds=number)
    if body == LATE:
        if not saga.due:
            return saga, None
        body = DeadlinePassed(*min(saga.due, key=lambda entry: entry[1]))
    decision = decide(saga, message(body, "o1", number + 1), at)
    for event in decision.events:
        saga = evolve(saga, message(event, "o1", saga.version + 1))
    return saga, decision


@given(st.lists(inputs, max_size=60))
@settings(max_examples=300, deadline=None)
def test_the_saga_accepts_anything_in_any_order_and_its_row_is_its_state(heard: list[Any]) -> None:
    saga = initial()
    for number, body in enumerate([CREATED, *heard]):
        before = saga
        saga, decision = _hear(saga, body, number)
        assert from_row(to_row(saga)) == saga
        if decision is None:
            continue
        assert saga.version == before.version + len(decision.events)
        if before.outcome in ("REJECTED", "CANCELLED") or (before.outcome == "SHIPPED" and body != BACK):
            assert decision.events == ()
        undone = [c for c in decision.commands if isinstance(c.body, (ReleaseStock, VoidPayment))]
        if undone and before.attempts_of("confirm"):
            # The order's own events said so first (design 3.18).
            assert saga.order_status in ("REJECTED", "CANCELLED")
        if any(isinstance(event, SagaEnded) for event in decision.events):
            assert saga.status is Status.ENDED
            assert not saga.due
            assert not saga.awaited


@given(st.lists(inputs, max_size=40), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_whatever_came_before_a_saga_whose_commands_are_answered_ends_or_is_shown_as_stuck(
    heard: list[Any], rng: Any
) -> None:
    saga = initial()
    for number, body in enumerate([CREATED, *heard]):
        saga, _ = _hear(saga, body, number)
    for number in range(200):
        if saga.status is Status.ENDED or saga.stuck is not None:
            return
        waits = sorted(saga.awaited)
        if waits:
            step, line = rng.choice(waits)
            type_ = next(type_ for type_, found in STEP_BY_COMMAND_TYPE.items() if found.name == step)
            saga, _ = _hear(saga, CommandAnswered("id", type_, "DONE", None, line or None), number)
        else:
            # It waits for what the order became.
            became = OrderRejected("no") if saga.refusals_of("confirm") else OrderConfirmed()
            saga, _ = _hear(saga, became, number)
    raise AssertionError(f"no end: {saga}")
