"""What a participant of a two-phase commit offers: small enough for any resource that can prepare."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from producers.store.connections import Connection
from producers.two_phase.identifiers import Identifier

# What one look of `Recovery.verify` compares.
A_LOOK_MAX = 1_000

# Told the name of each step as it is reached; for logs, and for tests that end a process there.
Steps = Callable[[str], None]


class Outcome(StrEnum):
    """What a transaction comes to."""

    COMMIT = "COMMIT"
    ABORT = "ABORT"


class Vote(StrEnum):
    """A participant's answer to prepare. NO also stands for an answer that never came."""

    YES = "YES"
    NO = "NO"


class Resolution(StrEnum):
    """How a participant stands to a decision (X/Open's words); UNKNOWN: out of reach or busy, ask again."""

    AS_DECIDED = "AS_DECIDED"
    HEURISTIC_COMMIT = "HEURISTIC_COMMIT"
    HEURISTIC_ROLLBACK = "HEURISTIC_ROLLBACK"
    UNKNOWN = "UNKNOWN"

    @property
    def is_heuristic(self) -> bool:
        """Whether the participant did the opposite of the decision."""
        return self in (Resolution.HEURISTIC_COMMIT, Resolution.HEURISTIC_ROLLBACK)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A transaction that is prepared at a participant, for `age_s` seconds now."""

    identifier: Identifier
    age_s: float


class Branch(Protocol):
    """A participant's part of one transaction, not yet prepared; leaving its context rolls it back."""

    @property
    def connection(self) -> Connection:
        """Where the work is done."""

    def has_written(self) -> bool:
        """Whether there is anything to commit; a branch that only read drops out (the read-only vote)."""

    def prepare(self, identifier: Identifier) -> Vote:
        """Writes the marker and prepares, all in the branch's own transaction."""

    def commit_at_once(self) -> None:
        """Commits in one phase: for the only branch that wrote. Raises what the database raises."""


class Participant(Protocol):
    """A resource that can prepare; `resolve` may be repeated at any time."""

    @property
    def name(self) -> str:
        """Unique among the participants of a system; part of every identifier."""

    def begin(self, steps: Steps) -> AbstractContextManager[Branch]:
        """Opens a branch. Raises psycopg.OperationalError where it is out of reach."""

    def resolve(self, identifier: Identifier, outcome: Outcome) -> Resolution:
        """Brings a prepared transaction to its outcome; one that is gone is judged by its marker."""

    def life(self) -> str:
        """Another after each start of the resource: meanwhile it may have been restored from an older backup.

        Raises psycopg.OperationalError.
        """

    def prepared(self) -> list[Prepared]:
        """All transactions of ours that are prepared here. Raises psycopg.OperationalError."""

    def marked(self, transactions: Iterable[str]) -> set[str]:
        """Those of these transactions (ids) that were committed here. Raises psycopg.OperationalError."""

    def recently_marked(self, within_s: float) -> set[str]:
        """Transactions that were committed here within the last seconds. Raises psycopg.OperationalError."""

    def newest_marked(self, skip: int) -> set[str]:
        """Transactions that were committed here: A_LOOK_MAX, from the newest back, without the `skip` newest.

        Raises psycopg.OperationalError.
        """
