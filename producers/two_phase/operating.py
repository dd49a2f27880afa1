"""What an operator may do: see what is open, bring one transaction to an outcome, dismiss damage that was dealt with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg

from producers.two_phase.coordinator import end
from producers.two_phase.decisions import Decided, Decisions
from producers.two_phase.errors import DecidedOtherwise, NotAtAll, NotPrepared
from producers.two_phase.identifiers import Identifier
from producers.two_phase.participant import Outcome, Participant, Prepared, Resolution
from producers.two_phase.protocol import End


@dataclass(frozen=True, slots=True)
class Open:
    """A transaction that is prepared somewhere, undecided at a participant, or damaged.

    `prepared` by participant; `out_of_reach` are participants of which nothing is known now.
    """

    transaction: str
    decision: Decided | None
    prepared: dict[str, Prepared]
    out_of_reach: tuple[str, ...]

    @property
    def age_s(self) -> float:
        """How long its oldest part has been prepared."""
        return max((each.age_s for each in self.prepared.values()), default=0.0)


class Operator:
    """The operator's acts over the databases of all participants."""

    def __init__(self, decisions: Decisions, participants: Mapping[str, Participant]) -> None:
        self._decisions, self._participants = decisions, participants

    def open(self) -> list[Open]:
        """All that is open or damaged, oldest first. Raises psycopg.OperationalError without the orders database."""
        prepared, out_of_reach = self._prepared()
        decided = {each.transaction: each for each in (*self._decisions.open(), *self._decisions.damaged())}
        found = [
            Open(id_, decided.get(id_) or self._decisions.find(id_), prepared.get(id_, {}), out_of_reach)
            for id_ in sorted(prepared.keys() | decided.keys())
        ]
        return sorted(found, key=lambda each: -each.age_s)

    def find(self, transaction: str) -> Open | None:
        """One transaction, also one that ended; None where nothing tells of it."""
        prepared, out_of_reach = self._prepared()
        decision = self._decisions.find(transaction)
        if decision is None and transaction not in prepared:
            return None
        return Open(transaction, decision, prepared.get(transaction, {}), out_of_reach)

    def force(self, transaction: str, outcome: Outcome) -> dict[str, Resolution]:
        """Decides, as recovery would in the end, and resolves; what each participant came to.

        Raises NotPrepared, DecidedOtherwise, and NotAtAll for a commit that a participant did not prepare:
        the protocol is never broken from here; who must break it does so in the database, and it is reported.
        """
        found = self.find(transaction)
        if found is None:
            raise NotPrepared(transaction)
        if found.decision is None and outcome is Outcome.COMMIT:
            missing = self._participants.keys() - found.prepared.keys()
            if missing:
                raise NotAtAll(transaction, tuple(sorted(missing)))
        owner = found.decision.owner if found.decision else next(iter(found.prepared.values())).identifier.owner
        names = found.decision.participants if found.decision else tuple(self._participants)
        stands = self._decisions.decide(owner, transaction, outcome, names)
        if stands is not outcome:
            raise DecidedOtherwise(transaction, stands)
        came_to = {
            name: self._participants[name].resolve(Identifier(owner, transaction, name), stands) for name in names
        }
        if Resolution.UNKNOWN not in came_to.values():
            end(self._decisions, transaction, End(tuple((n, r) for n, r in came_to.items() if r.is_heuristic)))
        return came_to

    def forget(self, transaction: str) -> bool:
        """Dismisses the damage of an ended transaction; False where there is none."""
        return self._decisions.forget(transaction)

    def _prepared(self) -> tuple[dict[str, dict[str, Prepared]], tuple[str, ...]]:
        found: dict[str, dict[str, Prepared]] = {}
        out_of_reach = []
        for name, participant in self._participants.items():
            try:
                for each in participant.prepared():
                    found.setdefault(each.identifier.transaction, {})[name] = each
            except psycopg.OperationalError:
                out_of_reach.append(name)
        return found, tuple(out_of_reach)
