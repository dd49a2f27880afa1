"""given / when / then for aggregates, for our tests and for those of whoever builds on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Generic, TypeVar

from producers.store.deciding import Accepted, Aggregate, Decision, Postponed, Refused

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Scenario(Generic[S]):
    """One case: `given(ORDERS, created).when(ConfirmOrder()).then(OrderConfirmed())`.

    Each `then…` raises AssertionError with what came instead.
    """

    aggregate: Aggregate[S]
    events: tuple[Any, ...]
    decision: Decision | None = None

    @property
    def state(self) -> S:
        """The state after the events so far."""
        return reduce(self.aggregate.evolve, self.events, self.aggregate.initial)

    def when(self, command: Any, decide: Callable[[S, Any], Decision] | None = None) -> Scenario[S]:
        """Decides `command` (by another function than the aggregate's `decide`, if one is named)."""
        return replace(self, decision=(decide or self.aggregate.decide)(self.state, command))

    def then(self, *events: Any) -> Scenario[S]:
        """The command was accepted and made exactly these events; they are part of what is given from here on."""
        return self._is(Accepted(events))

    def then_nothing(self) -> Scenario[S]:
        """The command was accepted, and nothing was left to do."""
        return self._is(Accepted())

    def then_refused(self, reason: str, *events: Any) -> Scenario[S]:
        """The command was refused for `reason`."""
        return self._is(Refused(reason, events))

    def then_asks(self, call: str, *events: Any) -> Scenario[S]:
        """The command's end waits for an effect outside."""
        return self._is(Postponed(call, events))

    def _is(self, wanted: Decision) -> Scenario[S]:
        assert self.decision == wanted, f"wanted {wanted}, got {self.decision}"
        return replace(self, events=self.events + wanted.events, decision=None)


def given(aggregate: Aggregate[S], *events: Any) -> Scenario[S]:
    """A history to begin with."""
    return Scenario(aggregate, events)
