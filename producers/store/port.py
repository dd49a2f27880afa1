"""What every event store offers: the port that PostgreSQL and the twin in memory both fill."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from schemas.envelope import Message

RUNNING = "RUNNING"
DONE = "DONE"

# Outcomes of a command, as the saga's reply has them.
OUTCOME_DONE = "DONE"
OUTCOME_REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a command: kept beside its id and given again to every repeat.

    `version` is the aggregate's version afterwards, `events` the ids of the events that it made.
    """

    outcome: str
    reason: str | None = None
    version: int | None = None
    events: tuple[str, ...] = ()
    aggregate: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As the `answer` column keeps it."""
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "version": self.version,
            "events": list(self.events),
            "aggregate": self.aggregate,
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Answer:
        """The reverse of `to_json`; fields that an older form lacks take their defaults."""
        return cls(
            outcome=kept["outcome"],
            reason=kept.get("reason"),
            version=kept.get("version"),
            events=tuple(kept.get("events", ())),
            aggregate=kept.get("aggregate"),
        )


@dataclass(frozen=True, slots=True)
class CommandId:
    """What identifies a command: `id` (a UUID), `scope` (where it came from), the hash of what it says."""

    id: str
    scope: str
    body_hash: str


@dataclass(frozen=True, slots=True)
class KnownCommand:
    """A command id that is stored; `answer` is None while it is RUNNING."""

    id: str
    body_hash: str
    state: str
    answer: Answer | None


@dataclass(frozen=True, slots=True)
class Head:
    """The head row of one aggregate; version 0 for one that has no history yet."""

    aggregatetype: str
    aggregate_id: str
    version: int = 0
    snapshot: dict[str, Any] | None = None
    snapshot_version: int = 0
    recorded_at: datetime | None = None

    @property
    def name(self) -> str:
        """`orders/4711`."""
        return f"{self.aggregatetype}/{self.aggregate_id}"


@dataclass(frozen=True, slots=True)
class Append:
    """Events to add behind `head`, dense from its version and of one record time, and the state after them."""

    head: Head
    events: tuple[Message, ...]
    snapshot: dict[str, Any]
    snapshot_version: int


class UnitOfWork(Protocol):
    """One transaction on a store: all that is done through it happens together or not at all."""

    def begin_command(self, command: CommandId, aggregatetype: str, aggregate_id: str) -> KnownCommand | Head:
        """Notes the id as RUNNING and loads the head of the command's aggregate, or tells what is stored under the id already.

        Raises StillRunning where another transaction has the same id in hand.
        """

    def find_command(self, command_id: str) -> KnownCommand | None:
        """What is stored under a command id, in this transaction or before it."""

    def finish_command(self, command_id: str, answer: Answer) -> None:
        """Keeps the answer of a RUNNING command."""

    def load_head(self, aggregatetype: str, aggregate_id: str) -> Head:
        """The head row as it is now; version 0 where there is none."""

    def append(self, append: Append) -> None:
        """Moves the head and adds the events. Raises Conflict when the head is not where `append` expects it."""

    def send(self, topic: str, message: Message) -> None:
        """Adds a message that is no event (an answer, say) to the outbox."""

    def together(self) -> AbstractContextManager[None]:
        """What is written inside may go to the store in one request, at the end of the block; Conflict is raised there."""


class EventStore(Protocol):
    """A service's own memory."""

    def transaction(self) -> AbstractContextManager[UnitOfWork]:
        """A unit of work that is kept when the block ends, and forgotten when it raises. Raises Busy."""

    def append(self, append: Append) -> None:
        """As `UnitOfWork.append`, in a transaction of its own. Raises Conflict, Busy."""

    def append_behind(self, expected: Head, make: Callable[[Head], Append]) -> Append:
        """Appends what `make` makes of the head, if it is where it is expected; nobody holds it meanwhile.

        `expected` may lack its snapshot; it is loaded then. Raises Conflict, Busy.
        """

    def read(
        self, aggregatetype: str, aggregate_id: str, from_version: int = 1, to_version: int | None = None
    ) -> list[Message]:
        """The history, by version, from one version to another (the head's by default), both included.

        Empty for an unknown aggregate. Raises HistoryBroken, and Damaged for a row that cannot be read.
        """

    def find_head(self, aggregatetype: str, aggregate_id: str) -> Head:
        """As `UnitOfWork.load_head`, in a transaction of its own."""

    def find_command(self, command_id: str) -> KnownCommand | None:
        """What is stored under a command id."""
