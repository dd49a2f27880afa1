"""Who answers an old hold: it is released where no saga needs it, and nothing is said where one does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas.messages import AskAboutHold, CommandAnswered, OrderCancelled, OrderCreated, OrderLine, ReleaseStock
from schemas.topics import INVENTORY_COMMANDS
from streams.sagas.inputs import SagaInputs
from streams.sagas.state import Row
from streams.scenario import MOMENT, message

CREATED = OrderCreated("c", "GBP", (OrderLine(1, "A", 1, 1),), 1, "card", "tok_ok")
LATER = MOMENT + timedelta(hours=1)


def _asked(*heard: Any, sku: str = "A", line: int = 1) -> list[tuple[str, str, Any]]:
    """What an old hold is told after the saga of o1 heard these."""
    rows: dict[str, Row] = {}
    inputs = SagaInputs(rows, MOMENT)
    for body in heard:
        inputs.handle(message(body, "o1"))
    inputs.save()
    before = dict(rows)
    later = SagaInputs(rows, LATER)
    out = later.handle(message(AskAboutHold(sku, line), "o1"))
    later.save()
    assert rows == before, "a question changes nothing"
    return [(sent.topic, sent.message.envelope.subject, sent.message.body) for sent in out]


RELEASED = [(INVENTORY_COMMANDS, "A", ReleaseStock("o1", 1))]


def test_a_hold_that_no_saga_ever_asked_for_is_released() -> None:
    assert _asked() == RELEASED


def test_a_hold_of_an_open_saga_stays() -> None:
    assert _asked(CREATED) == []


def test_a_hold_of_a_saga_that_is_being_undone_is_left_to_it() -> None:
    assert _asked(CREATED, OrderCancelled("x")) == []


def test_a_hold_that_a_saga_ended_without_is_released() -> None:
    undone = CommandAnswered("id", "RELEASE_STOCK", "DONE", None, 1)
    assert _asked(CREATED, OrderCancelled("x"), undone) == RELEASED


@pytest.mark.parametrize(("sku", "line"), [("A", 2), ("B", 1)])
def test_a_hold_of_a_line_that_the_order_does_not_have_is_released(sku: str, line: int) -> None:
    assert _asked(CREATED, sku=sku, line=line) == [(INVENTORY_COMMANDS, sku, ReleaseStock("o1", line))]


def test_the_release_is_answered_as_any_and_nobody_waits_for_the_answer() -> None:
    rows: dict[str, Row] = {}
    inputs = SagaInputs(rows, MOMENT)
    [release] = inputs.handle(message(AskAboutHold("A", 1), "o1"))
    assert release.message.envelope.source == "/tally/sagas"
    assert (
        inputs.handle(message(CommandAnswered(release.message.envelope.id, "RELEASE_STOCK", "DONE", None, 1), "o1"))
        == []
    )
