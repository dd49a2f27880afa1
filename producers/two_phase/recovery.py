"""Recovery: finds what a coordinator left prepared, settles it by the decision, and reports damage.

A pass
1. asks every participant what is prepared, and reads the open decisions;
2. settles each transaction that has a decision;
3. decides ABORT for each without one that is of an earlier life of ours, or older than any transaction may be;
4. does the same for each that a participant has committed without any decision: an operator's COMMIT PREPARED before
   there was one, or an orders database restored from an older backup; that is damage, and is kept as such;
5. marks as ended what all participants have answered.
A participant that is out of reach, or silent, leaves its transactions open for the next pass and holds no other up.
When it was started anew, or the database of the decisions was, its markers are compared with the decisions (`verify`):
one of them may have been restored from an older backup meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event, Thread

import psycopg
import structlog

from producers.two_phase.asking import Bounded
from producers.two_phase.coordinator import decide, end
from producers.two_phase.decisions import Decided, Decisions
from producers.two_phase.identifiers import Identifier, Identity
from producers.two_phase.participant import Outcome, Participant, Prepared, Resolution
from producers.two_phase.protocol import Answer, Call, Decide, End, Resolve, recover

log = structlog.get_logger(__name__)

# A transaction between its first prepare and its decision takes milliseconds; one that is older was left.
# With a pass every 5 s all is settled 15 s after everybody is back; we promise 30 s.
ABANDONED_AFTER_S = 10.0
PASS_EVERY_S = 5.0
ALARM_AFTER_S = 30.0
# A participant answers within milliseconds; one that is silent for so long is passed over. Even with both databases
# silent once a pass stays within what we promise.
ANSWER_WITHIN_S = 5.0
# How far back a pass looks for commits that nobody decided: well before that they are decided as abandoned.
LOOK_BACK_S = 60.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a prepared transaction without a decision is taken for abandoned, how often to look, when to alarm.

    `answer_within_s` is how long one question to a participant may take.
    """

    abandoned_after_s: float = ABANDONED_AFTER_S
    pass_every_s: float = PASS_EVERY_S
    alarm_after_s: float = ALARM_AFTER_S
    answer_within_s: float = ANSWER_WITHIN_S


@dataclass(slots=True)
class Pass:
    """What a pass found and did.

    `out_of_reach` names participants; `prepared` is by participant, `settled` by transaction; `damaged` counts
    transactions whose damage nobody has dismissed.
    """

    out_of_reach: list[str] = field(default_factory=list)
    prepared: dict[str, list[Prepared]] = field(default_factory=dict)
    settled: dict[str, Outcome] = field(default_factory=dict)
    damaged: int = 0


class Recovery:
    """Recovery of all transactions of these participants, whichever coordinator began them."""

    def __init__(
        self,
        owner: Identity,
        decisions: Decisions,
        participants: Mapping[str, Participant],
        bounds: Bounds | None = None,
        on_pass: Callable[[Pass], None] = lambda _: None,
    ) -> None:
        self._owner, self._decisions = owner, decisions
        self._bounds, self._on_pass = bounds or Bounds(), on_pass
        within_s = self._bounds.answer_within_s
        self._participants = {name: Bounded(there, within_s) for name, there in participants.items()}
        self._stop, self._thread = Event(), Thread(target=self._loop, name="two-phase-recovery", daemon=True)

    def start(self) -> None:
        """Passes one after another in a thread of its own, until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the pass that runs."""
        self._stop.set()
        self._thread.join()

    def run_pass(self) -> Pass:
        """One pass. Raises psycopg.OperationalError where the decisions are out of reach: nothing is done then."""
        found = Pass()
        owners: dict[str, Identity] = {}
        ripe: set[str] = set()
        decided = {decision.transaction: decision for decision in self._decisions.open()}
        for name, participant in self._participants.items():
            try:
                found.prepared[name] = participant.prepared()
            except psycopg.OperationalError as error:
                log.warning("out of reach", participant=name, error=type(error).__name__)
                found.out_of_reach.append(name)
                continue
            for prepared in found.prepared[name]:
                owners[prepared.identifier.transaction] = prepared.identifier.owner
                if self._is_abandoned(prepared):
                    ripe.add(prepared.identifier.transaction)
                self._alarm(name, prepared)
            for transaction in self._undecided(name, LOOK_BACK_S):
                owners.setdefault(transaction, self._owner)
                ripe.add(transaction)
        self._alarm_of_open(decided, found.out_of_reach)
        for transaction in owners.keys() | decided.keys():
            # A decision that came between the two looks counts; one of long ago may meet a late prepare.
            decision = decided.get(transaction) or self._decisions.find(transaction)
            if decision is not None or transaction in ripe:
                owner = decision.owner if decision is not None else owners[transaction]
                outcome = self._settle(transaction, owner, decision)
                if outcome is not None:
                    found.settled[transaction] = outcome
        found.damaged = len(self._decisions.damaged())
        return found

    def verify(self, participant: str) -> list[str]:
        """Commits that `participant` or the decisions know nothing of: one of them was restored from a backup.

        They are kept as heuristic damage. A backup lacks the newest, so it looks back until it finds one look whole:
        decisions and markers are kept for ever, and most are never looked at again. Raises psycopg.OperationalError.
        """
        undecided = self._undecided_of(participant)
        for transaction in undecided:
            self._settle(transaction, self._owner, None)
        missing = self._missing_at(participant)
        for transaction in missing:
            end(self._decisions, transaction, End(((participant, Resolution.HEURISTIC_ROLLBACK),)))
        return undecided + missing

    def _undecided_of(self, participant: str) -> list[str]:
        return _lacking(self._participants[participant].newest_marked, self._decisions.without)

    def _missing_at(self, participant: str) -> list[str]:
        there = self._participants[participant]
        still_prepared = {prepared.identifier.transaction for prepared in there.prepared()}

        def committed(skip: int) -> set[str]:
            return {decision.transaction for decision in self._decisions.committed(participant, skip)}

        return _lacking(committed, lambda looked_at: looked_at - still_prepared - there.marked(looked_at))

    def _undecided(self, name: str, within_s: float) -> set[str]:
        try:
            return self._decisions.without(self._participants[name].recently_marked(within_s))
        except psycopg.OperationalError:
            return set()

    def _is_abandoned(self, prepared: Prepared) -> bool:
        owner = prepared.identifier.owner
        is_of_earlier_life = owner.coordinator == self._owner.coordinator and owner.epoch < self._owner.epoch
        return is_of_earlier_life or prepared.age_s >= self._bounds.abandoned_after_s

    def _alarm(self, name: str, prepared: Prepared) -> None:
        if prepared.age_s >= self._bounds.alarm_after_s:
            log.error("prepared for too long", participant=name, gid=str(prepared.identifier), age_s=prepared.age_s)

    def _alarm_of_open(self, decided: Mapping[str, Decided], out_of_reach: list[str]) -> None:
        # What is prepared where nobody answers is not seen there.
        for transaction, decision in decided.items():
            waits_for = sorted(set(decision.participants) & set(out_of_reach))
            if waits_for and decision.age_s >= self._bounds.alarm_after_s:
                log.error("open for too long", transaction=transaction, waits_for=waits_for, age_s=decision.age_s)

    def _settle(self, transaction: str, owner: Identity, decision: Decided | None) -> Outcome | None:
        names = tuple(self._participants) if decision is None else decision.participants
        conversation = recover(names, None if decision is None else decision.outcome)
        try:
            call = next(conversation)
            while True:
                call = conversation.send(self._answer(call, transaction, owner))
        except StopIteration as stopped:
            outcome: Outcome | None = stopped.value
            return outcome

    def _answer(self, call: Call, transaction: str, owner: Identity) -> Answer:
        match call:
            case Decide():
                return decide(self._decisions, owner, transaction, call)
            case Resolve(name, outcome):
                participant = self._participants.get(name)
                if participant is None:
                    return Resolution.UNKNOWN
                return participant.resolve(Identifier(owner, transaction, name), outcome)
            case End():
                end(self._decisions, transaction, call)
        return None

    def _loop(self) -> None:
        verified: dict[str, tuple[str, str]] = {}
        while True:
            try:
                found = self.run_pass()
                self._on_pass(found)
                for name in found.prepared:
                    lives = self._decisions.life(), self._participants[name].life()
                    if lives != verified.get(name):
                        self.verify(name)
                        verified[name] = lives
            except psycopg.OperationalError as error:
                log.warning("recovery waits for the decisions", error=type(error).__name__)
            if self._stop.wait(self._bounds.pass_every_s):
                return


def _lacking(look: Callable[[int], set[str]], unknown: Callable[[set[str]], set[str]]) -> list[str]:
    """What the other side does not know of the transactions that `look` gives behind so many, up to a look known whole."""
    lacking: list[str] = []
    skipped = 0
    while True:
        found = look(skipped)
        missing = sorted(unknown(found))
        if not missing:
            return lacking
        lacking += missing
        skipped += len(found)
