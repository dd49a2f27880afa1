"""Given, when, then: a small language for tests of rules, for users of this code too.

Scenario(rules, "SKU-1").given(StockReceived(...)).when(ReserveStock(...)).then(StockReserved(...))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, Self, TypeVar

from schemas.envelope import Envelope, Message, derive_id
from schemas.messages import wire_type

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)

State = TypeVar("State")


class Rules(Protocol[State]):
    """The three pure functions; `decide` gives the bodies of the events that follow from a message."""

    def initial(self) -> State:
        """The state before all events."""

    def decide(self, state: State, message: Message) -> Sequence[Any]:
        """The events that follow."""

    def evolve(self, state: State, event: Message) -> State:
        """The state after an event."""


def message(body: Any, subject: str, version: int | None = None, id_: str | None = None) -> Message:
    """A message in an envelope that follows from its parts: the same parts, the same ids."""
    id_ = id_ or derive_id("scenario", subject, version, body)
    envelope = Envelope(
        id=id_,
        type=wire_type(type(body)),
        source="/tally/scenario",
        aggregatetype="scenario",
        subject=subject,
        version=version,
        recorded_at=MOMENT,
        correlation_id="affair",
        causation_id=f"cause of {id_}",
    )
    return Message(envelope, body)


@dataclass
class Scenario(Generic[State]):
    """One history of one aggregate; every step gives the scenario back."""

    rules: Rules[State]
    subject: str
    version: int = 0
    decided: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = self.rules.initial()

    def given(self, *events: Any) -> Self:
        """Folds events into the state."""
        for event in events:
            self.version += 1
            self.state = self.rules.evolve(self.state, message(event, self.subject, self.version))
        return self

    def when(self, *inputs: Any) -> Self:
        """Decides on each input and folds what follows."""
        self.decided = []
        for body in inputs:
            events = list(self.rules.decide(self.state, message(body, self.subject)))
            self.decided += events
            self.given(*events)
        return self

    def then(self, *events: Any) -> Self:
        """Asserts exactly these events from the last `when`."""
        assert self.decided == list(events), f"decided {self.decided}, not {list(events)}"
        return self
