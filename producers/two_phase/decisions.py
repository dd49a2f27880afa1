"""Decisions in the orders database: a compare-and-set whose key is the transaction, and what came of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from producers.store.connections import Connection, Pool
from producers.two_phase.identifiers import Identity
from producers.two_phase.inspecting import life
from producers.two_phase.participant import A_LOOK_MAX, Outcome, Resolution

# What one pass of recovery takes up; the rest waits for the next.
OPEN_A_PASS_MAX = 1_000
# What else is written in the transaction of a decision or of its dismissal.
Beside = Callable[[Connection], None]
_COLUMNS = (
    "transaction::text, coordinator, epoch, outcome, participants, ended_at is not null, damage,"
    " extract(epoch from clock_timestamp() - decided_at)::float8"
)

_STANDING = "select outcome from two_phase_decisions where transaction = %s"


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision row, made `age_s` seconds ago; `damage` is a Resolution by participant that did the opposite."""

    transaction: str
    owner: Identity
    outcome: Outcome
    participants: tuple[str, ...]
    is_ended: bool
    damage: dict[str, str]
    age_s: float


class Decisions:
    """The decisions, over a pool of connections to the orders database. Each method raises psycopg.OperationalError."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def begin_life(self, coordinator: str) -> Identity:
        """The coordinator's next life: an epoch that nobody had before."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "insert into two_phase_coordinators (name, epoch) values (%s, 1)"
                " on conflict (name) do update set epoch = two_phase_coordinators.epoch + 1 returning epoch",
                (coordinator,),
            ).fetchone()
        assert row is not None, "an upsert returns its row"
        return Identity(coordinator, row[0])

    def life(self) -> str:
        """Of their database: see `Participant.life`."""
        with self._pool.connection() as connection:
            return life(connection)

    def decide(
        self,
        owner: Identity,
        transaction: str,
        outcome: Outcome,
        participants: tuple[str, ...],
        beside: Beside = lambda _: None,
    ) -> Outcome:
        """Inserts the decision unless there is one; gives the one that stands. `beside` is written unless that differs."""
        with self._pool.connection() as connection:
            _survives_a_crash(connection)
            inserted = connection.execute(
                "insert into two_phase_decisions (transaction, coordinator, epoch, outcome, participants)"
                " values (%s, %s, %s, %s, %s) on conflict (transaction) do nothing returning outcome",
                (transaction, owner.coordinator, owner.epoch, outcome.value, list(participants)),
            ).fetchone()
            if inserted is None:
                # Another statement, another snapshot: it sees the row that the insert met.
                inserted = connection.execute(_STANDING, (transaction,)).fetchone()
            assert inserted is not None, "decisions are never removed"
            stands = Outcome(inserted[0])
            if stands is outcome:
                beside(connection)
        return stands

    def find(self, transaction: str) -> Decided | None:
        """The decision of a transaction; None where there is none yet."""
        found = self._select("where transaction = %s", (transaction,))
        return found[0] if found else None

    def without(self, transactions: set[str]) -> set[str]:
        """Those of these transactions that nobody decided."""
        with self._pool.connection() as connection:
            known = connection.execute(
                "select transaction::text from two_phase_decisions where transaction = any(%s::uuid[])",
                (list(transactions),),
            ).fetchall()
        return transactions - {id_ for (id_,) in known}

    def open(self) -> list[Decided]:
        """Decisions that not all participants have answered, oldest first."""
        return self._select(f"where ended_at is null order by decided_at limit {OPEN_A_PASS_MAX}")

    def damaged(self) -> list[Decided]:
        """Transactions with heuristic damage that no operator has dismissed."""
        return self._select("where damage <> '{}' and forgotten_at is null order by decided_at")

    def committed(self, participant: str, skip: int = 0) -> list[Decided]:
        """Ended commits that `participant` was part of: its markers must show them, unless it lost data since.

        Newest first, A_LOOK_MAX of them after `skip`.
        """
        return self._select(
            "where outcome = 'COMMIT' and ended_at is not null and %s = any(participants) and not damage ? %s"
            f" order by decided_at desc, transaction limit {A_LOOK_MAX} offset %s",
            (participant, participant, skip),
        )

    def end(self, transaction: str, damage: tuple[tuple[str, Resolution], ...]) -> None:
        """All have answered; damage is added to what is known already."""
        found = Jsonb({name: resolution.value for name, resolution in damage})
        with self._pool.connection() as connection:
            connection.execute(
                "update two_phase_decisions set ended_at = coalesce(ended_at, clock_timestamp()), damage = damage || %s"
                " where transaction = %s",
                (found, transaction),
            )

    def forget(self, transaction: str, beside: Beside = lambda _: None) -> bool:
        """An operator has dealt with the damage; whether there was any to dismiss, and only then `beside` is written."""
        with self._pool.connection() as connection:
            dismissed = connection.execute(
                "update two_phase_decisions set forgotten_at = clock_timestamp()"
                " where transaction = %s and ended_at is not null and damage <> '{}' and forgotten_at is null",
                (transaction,),
            )
            if dismissed.rowcount == 1:
                beside(connection)
            return dismissed.rowcount == 1

    def _select(self, rest: str, given: tuple[Any, ...] = ()) -> list[Decided]:
        query = f"select {_COLUMNS} from two_phase_decisions {rest}"
        with self._pool.connection() as connection:
            rows = connection.execute(query.encode(), given).fetchall()
        return [
            Decided(id_, Identity(name, epoch), Outcome(outcome), tuple(names), ended, damage, age_s)
            for id_, name, epoch, outcome, names, ended, damage, age_s in rows
        ]


def _survives_a_crash(connection: Connection) -> None:
    # The one row that everything rests on: it is on disk before the first commit, whatever the server's default is.
    connection.execute("set local synchronous_commit = on")
