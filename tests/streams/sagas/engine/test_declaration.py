"""A saga as data: what a declaration refuses, and how long its waits grow."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from streams.sagas.engine.declaration import Waits
from streams.sagas.state import OrderSaga
from streams.sagas.steps import ORDER_SAGA


def test_every_step_has_a_name_of_its_own() -> None:
    with pytest.raises(ValueError, match="a name and a command type of its own"):
        replace(ORDER_SAGA, steps=(*ORDER_SAGA.steps, ORDER_SAGA.steps[0]))


def test_a_step_that_can_be_undone_says_how() -> None:
    loose = replace(ORDER_SAGA.steps[0], compensation=None)
    with pytest.raises(ValueError, match="nothing says how"):
        replace(ORDER_SAGA, steps=(loose, *ORDER_SAGA.steps[1:]))


def test_a_compensation_that_is_not_there_is_refused() -> None:
    stray = replace(ORDER_SAGA.steps[0], compensation="forget")
    with pytest.raises(ValueError, match="no compensation that there is"):
        replace(ORDER_SAGA, steps=(stray, *ORDER_SAGA.steps[1:]))


def test_a_step_that_does_not_apply_is_no_step_of_that_saga() -> None:
    only_cards = replace(ORDER_SAGA.steps[1], applies=lambda saga: saga.payment_method == "card")
    saga = replace(ORDER_SAGA, steps=(ORDER_SAGA.steps[0], only_cards, *ORDER_SAGA.steps[2:]))
    names = {
        method: [step.name for step in saga.steps_of(OrderSaga(payment_method=method))] for method in ("card", "wallet")
    }
    assert names == {
        "card": ["reserve", "authorise", "confirm", "capture"],
        "wallet": ["reserve", "confirm", "capture"],
    }


def test_waits_double_up_to_their_maximum() -> None:
    waits = Waits(timedelta(seconds=1), timedelta(seconds=5))
    assert [waits.after(attempts).total_seconds() for attempts in range(5)] == [1, 2, 4, 5, 5]
