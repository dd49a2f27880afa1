"""What an operator may do to a saga: each act is a command to the saga's key, and an event of its history.

    RETRY       sends again, now, what lacks an answer, what fails for now, and a retriable step that was refused
    SKIP        takes a retriable step or a compensation as done, without its participant's word: its effect is the
                operator's business
    COMPENSATE  gives the affair up: undone at once before the pivot, afterwards only if the arbiter agrees
    COMPLETE    takes all that is left as done, up to the end: only once the arbiter has spoken, as before that
                it would sell what nobody holds or paid
    ANNOTATE    a remark, nothing else
An act that means nothing where the saga stands (it has ended, the step is not stuck) is not done and leaves no event.
"""

from __future__ import annotations

from typing import TypeVar

from schemas.messages import ActOnSaga, SagaActed
from streams.sagas.engine.deciding import Draft, give_up, go_on
from streams.sagas.engine.declaration import Kind
from streams.sagas.engine.folding import DONE
from streams.sagas.engine.state import SagaState, Status, Verdict

S = TypeVar("S", bound=SagaState)

RETRY, SKIP, COMPENSATE, COMPLETE, ANNOTATE = "RETRY", "SKIP", "COMPENSATE", "COMPLETE", "ANNOTATE"
ACTS = (RETRY, SKIP, COMPENSATE, COMPLETE, ANNOTATE)
# Steps that may be taken as done by hand; a skipped step before the pivot would sell what nobody holds or paid.
_SKIPPED = (Kind.RETRIABLE, Kind.COMPENSATION)


def act(draft: Draft[S], wish: ActOnSaga) -> None:
    """Does an act, where it means anything."""
    said = SagaActed(wish.act, wish.by, wish.reason, wish.step)
    is_open = draft.saga.status in (Status.RUNNING, Status.COMPENSATING)
    match wish.act:
        case "ANNOTATE":
            draft.say(said)
        case "RETRY" if is_open and _retried(draft):
            draft.say(said)
            for step in _retried(draft):
                draft.start(draft.declaration.by_name[step])
        case "SKIP" if is_open and _places(draft, wish.step):
            assert wish.step is not None, "without a step there are no places"
            places = _places(draft, wish.step)
            draft.say(said)
            for line in places:
                draft.answer(wish.step, line, DONE, f"skipped by {wish.by}: {wish.reason}")
        case "COMPLETE" if is_open and draft.saga.verdict is not Verdict.UNDECIDED and _left(draft):
            draft.say(said)
            while left := _left(draft):
                for step, line in left:
                    draft.answer(step, line, DONE, f"completed by {wish.by}: {wish.reason}")
                # The next retriable step is started, so that its participant hears of it all the same.
                go_on(draft)
        case "COMPENSATE" if draft.saga.status is Status.RUNNING:
            draft.say(said)
            give_up(draft, wish.reason)


def _retried(draft: Draft[S]) -> list[str]:
    """Names of the steps that lack an answer, or were refused and may only be retried, each once."""
    saga, by_name = draft.saga, draft.declaration.by_name
    lacking = [name for name, _ in sorted(saga.awaited)]
    refused = [found.step for found in saga.refusals if by_name[found.step].kind is Kind.RETRIABLE]
    return list(dict.fromkeys([*lacking, *refused]))


def _left(draft: Draft[S]) -> list[tuple[str, int]]:
    """All that the saga still waits for and that may be taken as done."""
    return [(name, line) for name in draft.declaration.by_name for line in _places(draft, name)]


def _places(draft: Draft[S], name: str | None) -> list[int]:
    """Parts of a step that were refused or lack an answer; none of a step that may not be skipped."""
    step = draft.declaration.by_name.get(name or "")
    if step is None or step.kind not in _SKIPPED or step.name == draft.declaration.give_up:
        return []
    lines = {line for found, line in draft.saga.awaited if found == step.name}
    return sorted(lines | {found.line for found in draft.saga.refusals_of(step.name)})
