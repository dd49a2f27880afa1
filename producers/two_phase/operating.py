"""What an operator may do: see what is open, bring one transaction to an outcome, dismiss damage that was dealt with.

Each act leaves who did it and why in the audit trail: a row of the orders database's outbox, written in the act's
own transaction, so that neither is without the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg

from producers.store.connections import Connection
from producers.store.postgres import PostgresUnit
from producers.two_phase.coordinator import end
from producers.two_phase.decisions import Beside, Decided, Decisions
from producers.two_phase.errors import DecidedOtherwise, NotAtAll, NotPrepared
from producers.two_phase.identifiers import Identifier
from producers.two_phase.participant import Outcome, Participant, Prepared, Resolution
from producers.two_phase.protocol import End
from schemas.codec import AvroCodec, Codec
from schemas.messages import TwoPhaseActed
from schemas.records import first_message
from schemas.topics import AUDIT_TRAIL

SOURCE, AGGREGATETYPE = "/tally/operator", "two-phase"
# Acts, as the audit trail has them.
ACT_BY_OUTCOME = {Outcome.COMMIT: "COMMIT", Outcome.ABORT: "ROLLBACK"}
FORGET = "FORGET"


@dataclass(frozen=True, slots=True)
class Who:
    """Who acts, and why."""

    by: str
    reason: str


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
        """How long its oldest part has been prepared, or how long ago it was decided where that can be prepared still."""
        since_decision = self.decision.age_s if self.decision and not self.decision.is_ended else 0.0
        return max((each.age_s for each in self.prepared.values()), default=since_decision)


class Operator:
    """The operator's acts over the databases of all participants."""

    def __init__(
        self, decisions: Decisions, participants: Mapping[str, Participant], codec: Codec | None = None
    ) -> None:
        self._decisions, self._participants, self._codec = decisions, participants, codec or AvroCodec()

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

    def force(self, transaction: str, outcome: Outcome, who: Who) -> dict[str, Resolution]:
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
        trail = self._trail(transaction, ACT_BY_OUTCOME[outcome], who)
        stands = self._decisions.decide(owner, transaction, outcome, names, trail)
        if stands is not outcome:
            raise DecidedOtherwise(transaction, stands)
        came_to = {
            name: self._participants[name].resolve(Identifier(owner, transaction, name), stands) for name in names
        }
        if Resolution.UNKNOWN not in came_to.values():
            end(self._decisions, transaction, End(tuple((n, r) for n, r in came_to.items() if r.is_heuristic)))
        return came_to

    def forget(self, transaction: str, who: Who) -> bool:
        """Dismisses the damage of an ended transaction; False where there is none."""
        return self._decisions.forget(transaction, self._trail(transaction, FORGET, who))

    def _trail(self, transaction: str, act: str, who: Who) -> Beside:
        acted = first_message(SOURCE, AGGREGATETYPE, transaction, TwoPhaseActed(act, who.by, who.reason))

        def write(connection: Connection) -> None:
            PostgresUnit(connection, self._codec).send(AUDIT_TRAIL, acted)

        return write

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
