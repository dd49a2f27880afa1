"""The coordinator: runs work over several participants so that all of it is committed or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack

import psycopg
import structlog

from producers.two_phase.decisions import Decisions
from producers.two_phase.errors import InDoubt
from producers.two_phase.identifiers import Identifier, Identity
from producers.two_phase.participant import Branch, Outcome, Participant, Steps
from producers.two_phase.protocol import Answer, Call, Conversation, Decide, End, Prepare, Resolve, coordinate
from schemas.envelope import new_id

log = structlog.get_logger(__name__)

Work = Callable[[Mapping[str, Branch]], None]


def no_steps(_: str) -> None:
    """Nobody is told."""


class Coordinator:
    """One life of a coordinator; safe to share between threads, for it keeps nothing between transactions."""

    def __init__(
        self, owner: Identity, decisions: Decisions, participants: Mapping[str, Participant], steps: Steps = no_steps
    ) -> None:
        self._owner, self._decisions, self._participants, self._steps = owner, decisions, participants, steps

    def run(self, names: tuple[str, ...], work: Work) -> Outcome:
        """Does `work` on a branch of each named participant; COMMIT: all of it is kept or will be.

        What `work` raises is raised, nothing done. One that only read drops out; the only one that wrote is
        committed at once. Raises InDoubt where the decision was not heard of, psycopg.Error where the only writer fails.
        """
        with ExitStack() as stack:
            branches: dict[str, Branch] = {
                name: stack.enter_context(self._participants[name].begin(self._steps)) for name in names
            }
            work(branches)
            self._steps("before vote")
            writers = {name: branch for name, branch in branches.items() if branch.has_written()}
            if len(writers) <= 1:
                for name, branch in writers.items():
                    self._steps(f"before commit at once {name}")
                    branch.commit_at_once()
                    self._steps(f"after commit at once {name}")
                return Outcome.COMMIT
            transaction = new_id()
            outcome = self._converse(coordinate(tuple(writers)), transaction, writers)
            if outcome is None:
                raise InDoubt(transaction)
            return outcome

    def _converse(self, conversation: Conversation, transaction: str, branches: Mapping[str, Branch]) -> Outcome | None:
        answer: Answer = None
        try:
            call = next(conversation)
            while True:
                answer = self._answer(call, transaction, branches)
                call = conversation.send(answer)
        except StopIteration as end:
            outcome: Outcome | None = end.value
            return outcome

    def _answer(self, call: Call, transaction: str, branches: Mapping[str, Branch]) -> Answer:
        match call:
            case Prepare(name):
                return branches[name].prepare(Identifier(self._owner, transaction, name))
            case Decide():
                self._steps("before decision")
                stands = decide(self._decisions, self._owner, transaction, call)
                self._steps("after decision")
                return stands
            case Resolve(name, outcome):
                self._steps(f"before {outcome.lower()} {name}")
                resolution = self._participants[name].resolve(Identifier(self._owner, transaction, name), outcome)
                self._steps(f"after {outcome.lower()} {name}")
                return resolution
            case End():
                self._steps("before forget")
                end(self._decisions, transaction, call)
                self._steps("after forget")
        return None


def decide(decisions: Decisions, owner: Identity, transaction: str, call: Decide) -> Outcome | None:
    """Asks for the decision; None where its database did not answer: the row may stand all the same."""
    try:
        return decisions.decide(owner, transaction, call.outcome, call.participants)
    except psycopg.OperationalError as error:
        log.warning("in doubt", transaction=transaction, error=type(error).__name__)
        return None


def end(decisions: Decisions, transaction: str, call: End) -> None:
    """Notes the end; where that fails recovery will find the same."""
    for name, resolution in call.damage:
        log.error("heuristic damage", transaction=transaction, participant=name, found=resolution.value)
    try:
        decisions.end(transaction, call.damage)
    except psycopg.OperationalError as error:
        log.warning("the end is not noted yet", transaction=transaction, error=type(error).__name__)
