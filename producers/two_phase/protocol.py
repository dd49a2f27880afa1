"""The protocol without I/O: generators that yield calls and are sent the answers, so that every interleaving can be run.

Presumed abort (Mohan, Lindsay and Obermarck 1986) with the decision as a compare-and-set:
1. every participant prepares; one that says no, or does not answer, ends it: all are rolled back, nothing is logged;
2. the decision row is inserted; whoever inserts first decides, and the answer is the row that stands;
3. the participants are brought to the decision; one that did otherwise behind our back is heuristic damage;
4. once all have answered the transaction is ended, with the damage, if any, kept beside the decision.
A decision row is not removed at the end: a coordinator that stalled before step 2 must still lose against it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from producers.two_phase.participant import Outcome, Resolution, Vote


@dataclass(frozen=True, slots=True)
class Prepare:
    """Answered by a Vote."""

    participant: str


@dataclass(frozen=True, slots=True)
class Decide:
    """Answered by the outcome that stands; None where the answer was lost."""

    outcome: Outcome
    participants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resolve:
    """Answered by a Resolution."""

    participant: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class End:
    """All have answered; `damage` names those who did the opposite. The answer does not matter."""

    damage: tuple[tuple[str, Resolution], ...]


Call = Prepare | Decide | Resolve | End
Answer = Vote | Outcome | Resolution | None
Conversation = Generator[Call, Answer, Outcome | None]


def coordinate(participants: tuple[str, ...]) -> Conversation:
    """A coordinator's part; gives the outcome, None where only recovery can tell it."""
    for name in participants:
        if (yield Prepare(name)) is not Vote.YES:
            # It may be prepared all the same, only its answer lost. What cannot be rolled back now recovery will find.
            for other in participants:
                yield Resolve(other, Outcome.ABORT)
            return Outcome.ABORT
    stands = yield Decide(Outcome.COMMIT, participants)
    if not isinstance(stands, Outcome):
        return None
    return (yield from finish(stands, participants))


def recover(participants: tuple[str, ...], decided: Outcome | None) -> Conversation:
    """A recoverer's part for one transaction; `decided` is what the decision row says, None where there is none."""
    stands: Answer = decided
    if stands is None:
        # Before anything is rolled back: a coordinator that lives must find that it has lost.
        stands = yield Decide(Outcome.ABORT, participants)
    if not isinstance(stands, Outcome):
        return None
    return (yield from finish(stands, participants))


def finish(outcome: Outcome, participants: tuple[str, ...]) -> Conversation:
    """Brings all to a decision that stands; ends it when all have answered."""
    damage: list[tuple[str, Resolution]] = []
    all_answered = True
    for name in participants:
        answer = yield Resolve(name, outcome)
        if not isinstance(answer, Resolution) or answer is Resolution.UNKNOWN:
            all_answered = False
        elif answer.is_heuristic:
            damage.append((name, answer))
    if all_answered:
        yield End(tuple(damage))
    return outcome
