"""Questions to a participant with a time-out: a server that is connected and silent holds nobody else up.

A time-out of the server's own does not run while it is stopped, and the kernel acknowledges what nobody reads, so no
time-out of TCP runs either: only who asks can give up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from threading import Thread
from typing import TypeVar

from producers.two_phase.errors import NoAnswer
from producers.two_phase.identifiers import Identifier
from producers.two_phase.participant import Branch, Outcome, Participant, Prepared, Resolution, Steps

T = TypeVar("T")


class Asked:
    """Puts questions to one participant, each in a thread that may be left behind. For one thread at a time.

    While one is unanswered no other is put: however long a participant is silent, it costs one wait, one thread and
    one connection.
    """

    def __init__(self, name: str, within_s: float) -> None:
        self._name, self._within_s = name, within_s
        self._unanswered: Future[object] = Future()
        self._unanswered.set_result(None)

    def ask(self, question: Callable[[], T]) -> T:
        """The answer, or what the question raises. Raises NoAnswer, an OperationalError."""
        if not self._unanswered.done():
            raise NoAnswer(self._name, self._within_s)
        answer: Future[T] = Future()
        self._unanswered = answer  # type: ignore[assignment]  # only ever asked whether it is done
        Thread(target=_answer, args=(answer, question), name=f"asks-{self._name}", daemon=True).start()
        wait([answer], self._within_s)
        if not answer.done():
            raise NoAnswer(self._name, self._within_s)
        return answer.result()


def _answer(answer: Future[T], question: Callable[[], T]) -> None:
    try:
        answer.set_result(question())
    except BaseException as error:
        answer.set_exception(error)


class Bounded:
    """A participant whose questions end within `within_s`; a resolution that comes later does no harm."""

    def __init__(self, participant: Participant, within_s: float) -> None:
        self._participant, self._asked = participant, Asked(participant.name, within_s)

    @property
    def name(self) -> str:
        """See `Participant.name`."""
        return self._participant.name

    def begin(self, steps: Steps) -> AbstractContextManager[Branch]:
        """See `Participant.begin`: work of one's own is not bounded here."""
        return self._participant.begin(steps)

    def resolve(self, identifier: Identifier, outcome: Outcome) -> Resolution:
        """See `Participant.resolve`. No answer: UNKNOWN."""
        try:
            return self._asked.ask(lambda: self._participant.resolve(identifier, outcome))
        except NoAnswer:
            return Resolution.UNKNOWN

    def life(self) -> str:
        """See `Participant.life`."""
        return self._asked.ask(self._participant.life)

    def prepared(self) -> list[Prepared]:
        """See `Participant.prepared`."""
        return self._asked.ask(self._participant.prepared)

    def marked(self, transactions: Iterable[str]) -> set[str]:
        """See `Participant.marked`."""
        return self._asked.ask(lambda: self._participant.marked(transactions))

    def recently_marked(self, within_s: float) -> set[str]:
        """See `Participant.recently_marked`."""
        return self._asked.ask(lambda: self._participant.recently_marked(within_s))

    def newest_marked(self, skip: int) -> set[str]:
        """See `Participant.newest_marked`."""
        return self._asked.ask(lambda: self._participant.newest_marked(skip))
