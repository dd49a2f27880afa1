"""Load, decide, append: how a command becomes events, the same for every aggregate and every store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from producers.errors import CommandIdReused
from producers.store.port import (
    OUTCOME_DONE,
    OUTCOME_REFUSED,
    Answer,
    Append,
    CommandId,
    EventStore,
    Head,
    KnownCommand,
    UnitOfWork,
)
from producers.store.snapshots import SnapshotForm
from schemas.envelope import Envelope, Message, body_hash, derive_id
from schemas.errors import Conflict
from schemas.messages import AskStatus, CommandAnswered, wire_type
from schemas.topics import SAGAS_REPLIES

S = TypeVar("S")

# A head that moved five times while we decided is under so much contention that the caller had better come back.
TRIES_MAX = 5
# A command older than this by record time is refused: what remembers ids need not remember for ever.
HORIZON = timedelta(days=30)
EXPIRED = "EXPIRED"
SAGAS_SOURCE = "/tally/sagas"
# Told of a command that did not come, or waits for an effect outside.
OUTCOME_UNDECIDED = "UNDECIDED"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The command is done by these events; none where it was done already."""

    events: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The command may not be; `reason` is one word for programs. `events` where the refusal is a fact of its own."""

    reason: str
    events: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Postponed:
    """The command's end needs an effect outside: `call` names it; `events` are facts already."""

    call: str
    events: tuple[Any, ...] = ()


Decision = Accepted | Refused | Postponed


@dataclass(frozen=True, slots=True)
class Aggregate(Generic[S]):
    """The three pure parts of an aggregate and the names that it goes by."""

    aggregatetype: str
    source: str
    initial: S
    decide: Callable[[S, Any], Decision]
    evolve: Callable[[S, Any], S]
    form: SnapshotForm[S]

    def state_of(self, head: Head) -> S:
        """The state that a head row holds."""
        if head.snapshot is None:
            return self.initial
        return self.form.load(head.snapshot, head.snapshot_version)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """An aggregate's head and the state in it."""

    head: Head
    state: S


def load(unit: UnitOfWork, aggregate: Aggregate[S], aggregate_id: str) -> Loaded[S]:
    """The aggregate as it stands."""
    head = unit.load_head(aggregate.aggregatetype, aggregate_id)
    return Loaded(head, aggregate.state_of(head))


def record(
    unit: UnitOfWork,
    aggregate: Aggregate[S],
    loaded: Loaded[S],
    bodies: tuple[Any, ...],
    cause: Message,
    part: str | None = None,
) -> tuple[Message, ...]:
    """Appends event bodies that `cause` brought about; their ids follow from its id. Raises Conflict.

    `part` tells the events of one aggregate from those of another where one cause changes several.
    """
    if not bodies:
        return ()
    append = append_of(aggregate, loaded, bodies, cause, part)
    unit.append(append)
    return append.events


def append_of(
    aggregate: Aggregate[S], loaded: Loaded[S], bodies: tuple[Any, ...], cause: Message, part: str | None = None
) -> Append:
    """What `record` appends: the events, and the state after them."""
    return append_after(aggregate, loaded.head, bodies, cause, fold(aggregate, loaded.state, bodies), part)


def fold(aggregate: Aggregate[S], state: S, bodies: tuple[Any, ...]) -> S:
    """The state after event bodies."""
    for body in bodies:
        state = aggregate.evolve(state, body)
    return state


def append_after(
    aggregate: Aggregate[S], head: Head, bodies: tuple[Any, ...], cause: Message, state: S, part: str | None = None
) -> Append:
    """As `append_of`, where `state` after the events is known."""
    events = events_of(aggregate, head, bodies, cause, part)
    return Append(head, events, aggregate.form.to_json(state), aggregate.form.version)


def events_of(
    aggregate: Aggregate[S], head: Head, bodies: tuple[Any, ...], cause: Message, part: str | None = None
) -> tuple[Message, ...]:
    """Bodies as messages: dense versions behind the head, and a record time that never goes back."""
    because = cause.envelope
    recorded_at = max(because.recorded_at, head.recorded_at or because.recorded_at)
    return tuple(
        Message(
            Envelope(
                # The version is part of the place: one command may add events in two transactions (a payment does).
                id=derive_id(because.id, *(() if part is None else (part,)), head.version + index),
                type=wire_type(type(body)),
                source=aggregate.source,
                aggregatetype=aggregate.aggregatetype,
                subject=head.aggregate_id,
                version=head.version + index,
                recorded_at=recorded_at,
                correlation_id=because.correlation_id,
                causation_id=because.id,
                traceparent=because.traceparent,
            ),
            body,
        )
        for index, body in enumerate(bodies, start=1)
    )


def handle(unit: UnitOfWork, aggregate: Aggregate[S], command: Message, clock: datetime) -> Answer | None:
    """One command in one transaction; its answer, or None where the end is postponed.

    `clock` is the time of handling, UTC. A repeat gets the stored answer and changes nothing.
    A command of a saga is answered on `sagas.replies` in the same transaction.
    Raises CommandIdReused, StillRunning, Conflict.
    """
    envelope = command.envelope
    if isinstance(command.body, AskStatus):
        return _tell(unit, restamp(command, clock), aggregate.source)
    id_ = command_id_of(command)
    begun = unit.begin_command(id_, aggregate.aggregatetype, envelope.subject)
    if isinstance(begun, KnownCommand):
        if begun.body_hash != id_.body_hash:
            raise CommandIdReused(envelope.id)
        return begun.answer
    stamped = restamp(command, clock)
    if clock - envelope.recorded_at > HORIZON:
        return finish(unit, stamped, Answer(OUTCOME_REFUSED, reason=EXPIRED), aggregate.source)
    loaded = Loaded(begun, aggregate.state_of(begun))
    decision = aggregate.decide(loaded.state, command.body)
    with unit.together():
        events = record(unit, aggregate, loaded, decision.events, stamped)
        if isinstance(decision, Postponed):
            return None
        answer = Answer(
            outcome=OUTCOME_REFUSED if isinstance(decision, Refused) else OUTCOME_DONE,
            reason=decision.reason if isinstance(decision, Refused) else None,
            version=loaded.head.version + len(events),
            events=tuple(event.envelope.id for event in events),
            aggregate=loaded.head.name,
        )
        return finish(unit, stamped, answer, aggregate.source)


def _tell(unit: UnitOfWork, question: Message, source: str) -> Answer:
    """Answers once more what became of a command; a question changes nothing and is not remembered."""
    asked = question.body
    known = unit.find_command(asked.command_id)
    answer = Answer(OUTCOME_UNDECIDED) if known is None or known.answer is None else known.answer
    told = reply(question, answer, source)
    named = replace(told.body, command_id=asked.command_id, command_type=asked.command_type, line=asked.line)
    # A question that comes again may get another answer, under another id then.
    envelope = replace(told.envelope, id=derive_id(told.envelope.id, answer.outcome))
    unit.send(SAGAS_REPLIES, Message(envelope, named))
    return answer


def finish(unit: UnitOfWork, command: Message, answer: Answer, source: str) -> Answer:
    """Keeps the answer, and tells the saga where it was a saga that asked."""
    unit.finish_command(command.envelope.id, answer)
    if command.envelope.source == SAGAS_SOURCE:
        unit.send(SAGAS_REPLIES, reply(command, answer, source))
    return answer


def reply(command: Message, answer: Answer, source: str) -> Message:
    """COMMAND_ANSWERED for a saga's command; its record time is that of `command`."""
    envelope = command.envelope
    body = CommandAnswered(
        command_id=envelope.id,
        command_type=envelope.type,
        outcome=answer.outcome,
        reason=answer.reason,
        # A command that is a part of a step says which.
        line=getattr(command.body, "number", None),
        version=answer.version,
    )
    return Message(
        Envelope(
            id=derive_id(envelope.id, "answer"),
            type=wire_type(CommandAnswered),
            source=source,
            aggregatetype="sagas",
            subject=envelope.subject,
            version=None,
            recorded_at=envelope.recorded_at,
            correlation_id=envelope.correlation_id,
            causation_id=envelope.id,
            traceparent=envelope.traceparent,
        ),
        body,
    )


def handle_with_retries(store: EventStore, aggregate: Aggregate[S], command: Message, clock: datetime) -> Answer | None:
    """`handle` in a transaction of its own, again after a Conflict, at most TRIES_MAX times.

    Raises Conflict after the last try, Busy, StillRunning, CommandIdReused.
    """
    for tries_left in reversed(range(TRIES_MAX)):
        try:
            with store.transaction() as unit:
                return handle(unit, aggregate, command, clock)
        except Conflict:
            if not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


def command_id_of(command: Message) -> CommandId:
    """What the store knows a command by."""
    return CommandId(command.envelope.id, command.envelope.source, body_hash(command))


def restamp(message: Message, recorded_at: datetime) -> Message:
    """The same message with another record time: what it causes is recorded when it is handled."""
    return Message(replace(message.envelope, recorded_at=recorded_at), message.body)
