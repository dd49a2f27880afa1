"""A participant that is connected and silent costs one wait; the others are recovered meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from threading import Event
from typing import Any

import pytest
from running_system import wait_for

from producers.two_phase.asking import Asked, Bounded
from producers.two_phase.errors import NoAnswer
from producers.two_phase.identifiers import Identifier, Identity
from producers.two_phase.participant import Branch, Outcome, Prepared, Resolution, Steps

IDENTIFIER = Identifier(Identity("test", 1), "00000000-0000-4000-8000-000000000001", "mute")
SOON_S, LONG_S = 0.05, 30.0


class Mute:
    """A participant that answers nothing until it is told to; counts what it was asked."""

    name = "mute"

    def __init__(self) -> None:
        self.speaks, self.asked = Event(), 0

    def _say(self, answer: Any) -> Any:
        self.asked += 1
        assert self.speaks.wait(LONG_S)
        return answer

    def begin(self, steps: Steps) -> AbstractContextManager[Branch]:
        raise AssertionError("nobody begins here")

    def resolve(self, identifier: Identifier, outcome: Outcome) -> Resolution:
        return self._say(Resolution.AS_DECIDED)  # type: ignore[no-any-return]

    def life(self) -> str:
        return self._say("one")  # type: ignore[no-any-return]

    def prepared(self) -> list[Prepared]:
        return self._say([Prepared(IDENTIFIER, 1.0)])  # type: ignore[no-any-return]

    def marked(self, transactions: Any) -> set[str]:
        return self._say(set())  # type: ignore[no-any-return]

    def recently_marked(self, within_s: float) -> set[str]:
        return self._say(set())  # type: ignore[no-any-return]

    def newest_marked(self, skip: int) -> set[str]:
        return self._say(set())  # type: ignore[no-any-return]


@pytest.fixture
def mute() -> Iterator[Mute]:
    participant = Mute()
    yield participant
    participant.speaks.set()


QUESTIONS: tuple[Callable[[Bounded], object], ...] = (
    lambda there: there.prepared(),
    lambda there: there.life(),
    lambda there: there.marked([]),
    lambda there: there.recently_marked(1.0),
    lambda there: there.newest_marked(0),
)


def test_one_that_owes_an_answer_is_not_asked_again_until_it_has_given_it(mute: Mute) -> None:
    bounded = Bounded(mute, SOON_S)
    for question in QUESTIONS * 2:
        with pytest.raises(NoAnswer, match="mute"):
            question(bounded)
    assert bounded.resolve(IDENTIFIER, Outcome.COMMIT) is Resolution.UNKNOWN
    assert mute.asked == 1
    mute.speaks.set()
    wait_for(lambda: has_answer(bounded), LONG_S, "the answer that it owed")
    assert bounded.resolve(IDENTIFIER, Outcome.COMMIT) is Resolution.AS_DECIDED


def has_answer(bounded: Bounded) -> bool:
    try:
        return bounded.prepared() == [Prepared(IDENTIFIER, 1.0)]
    except NoAnswer:
        return False


def test_what_a_question_raises_is_raised() -> None:
    def question() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        Asked("any", LONG_S).ask(question)
