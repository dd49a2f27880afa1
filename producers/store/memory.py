"""The event store in memory: the twin of the one on PostgreSQL, for tests and simulations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace

from producers.errors import Busy, HistoryBroken, StillRunning
from producers.store.port import DONE, RUNNING, Answer, Append, CommandId, Head, KnownCommand
from schemas.envelope import Message
from schemas.errors import Conflict

Key = tuple[str, str]


@dataclass(slots=True)
class _Kept:
    """What a store holds; a unit of work writes into one of its own until it is kept."""

    heads: dict[Key, Head] = field(default_factory=dict)
    events: dict[Key, list[Message]] = field(default_factory=dict)
    sent: list[tuple[str, Message]] = field(default_factory=list)
    commands: dict[str, KnownCommand] = field(default_factory=dict)


class MemoryUnit:
    """A unit of work: reads what is kept, keeps its own changes apart until the end."""

    def __init__(self, store: MemoryEventStore) -> None:
        self._store, self.changes, self.expected = store, _Kept(), dict[Key, int]()

    def begin_command(self, command: CommandId, aggregatetype: str, aggregate_id: str) -> KnownCommand | Head:
        """See `UnitOfWork.begin_command`."""
        known = self.changes.commands.get(command.id) or self._store.find_command(command.id)
        if known is not None:
            return known
        if command.id in self._store.commands_in_hand:
            raise StillRunning(command.id)
        self._store.commands_in_hand.add(command.id)
        self.changes.commands[command.id] = KnownCommand(command.id, command.body_hash, RUNNING, None)
        return self.load_head(aggregatetype, aggregate_id)

    def find_command(self, command_id: str) -> KnownCommand | None:
        """See `UnitOfWork.find_command`."""
        return self.changes.commands.get(command_id) or self._store.find_command(command_id)

    def finish_command(self, command_id: str, answer: Answer) -> None:
        """See `UnitOfWork.finish_command`."""
        known = self.changes.commands.get(command_id) or self._store.kept.commands[command_id]
        self.changes.commands[command_id] = replace(known, state=DONE, answer=answer)

    def load_head(self, aggregatetype: str, aggregate_id: str) -> Head:
        """See `UnitOfWork.load_head`."""
        mine = self.changes.heads.get((aggregatetype, aggregate_id))
        return mine or self._store.find_head(aggregatetype, aggregate_id)

    def append(self, append: Append) -> None:
        """See `UnitOfWork.append`."""
        key = (append.head.aggregatetype, append.head.aggregate_id)
        if append.head.name in self._store.held:
            raise Busy(append.head.name)
        if self.load_head(*key).version != append.head.version:
            raise Conflict(*key, append.head.version)
        self.expected.setdefault(key, append.head.version)
        last = append.events[-1].envelope
        assert last.version is not None
        self.changes.heads[key] = Head(
            *key, last.version, copy.deepcopy(append.snapshot), append.snapshot_version, last.recorded_at
        )
        self.changes.events.setdefault(key, []).extend(append.events)
        self.changes.sent.extend((f"{key[0]}.events", event) for event in append.events)

    def send(self, topic: str, message: Message) -> None:
        """See `UnitOfWork.send`."""
        self.changes.sent.append((topic, message))

    def together(self) -> AbstractContextManager[None]:
        """See `UnitOfWork.together`; nothing is far from here."""
        return nullcontext()


class MemoryEventStore:
    """An event store that forgets everything with the process; for one thread at a time.

    `held` names aggregates (`orders/4711`) whose heads another transaction would hold; `sent` is the outbox.
    """

    def __init__(self) -> None:
        self.kept = _Kept()
        self.held: set[str] = set()
        self.commands_in_hand: set[str] = set()

    @property
    def sent(self) -> list[tuple[str, Message]]:
        """Every outbox row as (topic, message), in order."""
        return self.kept.sent

    @contextmanager
    def transaction(self) -> Iterator[MemoryUnit]:
        """See `EventStore.transaction`."""
        unit = MemoryUnit(self)
        begun = unit.changes.commands
        try:
            yield unit
            self._keep(unit)
        finally:
            self.commands_in_hand.difference_update(begun)

    def append(self, append: Append) -> None:
        """See `EventStore.append`."""
        with self.transaction() as unit:
            unit.append(append)

    def append_behind(self, expected: Head, make: Callable[[Head], Append]) -> Append:
        """See `EventStore.append_behind`."""
        head = self.find_head(expected.aggregatetype, expected.aggregate_id)
        if head.version != expected.version:
            raise Conflict(expected.aggregatetype, expected.aggregate_id, expected.version)
        append = make(head)
        self.append(append)
        return append

    def read(
        self, aggregatetype: str, aggregate_id: str, from_version: int = 1, to_version: int | None = None
    ) -> list[Message]:
        """See `EventStore.read`."""
        head = self.find_head(aggregatetype, aggregate_id)
        events = self.kept.events.get((aggregatetype, aggregate_id), [])
        last = head.version if to_version is None else min(to_version, head.version)
        history = [event for event in events if from_version <= (event.envelope.version or 0) <= last]
        found = [event.envelope.version or 0 for event in history]
        if found != list(range(from_version, last + 1)):
            raise HistoryBroken(head.name, head.version, found)
        return history

    def find_head(self, aggregatetype: str, aggregate_id: str) -> Head:
        """See `EventStore.find_head`."""
        return self.kept.heads.get((aggregatetype, aggregate_id)) or Head(aggregatetype, aggregate_id)

    def find_command(self, command_id: str) -> KnownCommand | None:
        """See `EventStore.find_command`."""
        return self.kept.commands.get(command_id)

    def _keep(self, unit: MemoryUnit) -> None:
        for key, version in unit.expected.items():
            if self.find_head(*key).version != version:
                raise Conflict(*key, version)
        self.kept.heads.update(unit.changes.heads)
        self.kept.commands.update(unit.changes.commands)
        self.kept.sent.extend(unit.changes.sent)
        for key, events in unit.changes.events.items():
            self.kept.events.setdefault(key, []).extend(events)
