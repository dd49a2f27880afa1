"""Handling of the saga's inputs: each folded into its saga, events and commands given back."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import datetime

from schemas.envelope import Envelope, Message, derive_id
from schemas.messages import (
    ActOnSaga,
    AskAboutHold,
    AskStatus,
    CommandAnswered,
    DeadlinePassed,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLinesReturned,
    OrderRejected,
    OrderShipped,
    SagaActed,
)
from schemas.topics import AUDIT_TRAIL, SAGAS_DEADLINES, SAGAS_EVENTS
from streams.errors import UnexpectedMessage
from streams.outgoing import SAGA_SOURCE, Address, Outgoing, cause_in_a_row, follow
from streams.sagas.engine.folding import stamp
from streams.sagas.holds import answer_hold
from streams.sagas.order import Command, decide
from streams.sagas.state import OrderSaga, Row, from_row, to_row

INPUTS = (
    OrderCreated,
    OrderConfirmed,
    OrderRejected,
    OrderCancelled,
    OrderShipped,
    OrderLinesReturned,
    CommandAnswered,
    DeadlinePassed,
    ActOnSaga,
    AskAboutHold,
)


class SagaInputs:
    """One batch of inputs of one partition, handled at moment `at`; the rows are written once, by `save`.

    An order of a thousand lines hears a thousand answers: so its state is read and written once a batch.
    """

    def __init__(self, rows: MutableMapping[str, Row], at: datetime) -> None:
        self._rows, self._at = rows, at
        self._sagas: dict[str, OrderSaga] = {}
        self.changed: dict[str, OrderSaga] = {}

    def handle(self, message: Message) -> list[Outgoing]:
        """Gives what is to be sent. Raises UnexpectedMessage for what is no input of a saga."""
        if not isinstance(message.body, INPUTS):
            raise UnexpectedMessage(message.envelope.type, "the saga's inputs")
        order_id = message.envelope.subject
        before = self._sagas.get(order_id)
        if before is None:
            before = self._sagas[order_id] = from_row(self._rows.get(order_id))
        if isinstance(message.body, AskAboutHold):
            return answer_hold(before, message, self._at)
        decision = decide(before, message, self._at)
        if not decision.events:
            return []
        events = []
        for index, body in enumerate(decision.events):
            to = Address(SAGA_SOURCE, "sagas", order_id, before.version + 1 + index)
            id_ = derive_id(message.envelope.id, "saga", index)
            events.append(follow(message.envelope, id_, to, body, self._at))
        saga = stamp(decision.saga, events)
        out = [Outgoing(SAGAS_EVENTS, event) for event in events]
        out += [_for_the_trail(event, self._at) for event in events if isinstance(event.body, SagaActed)]
        for command in decision.commands:
            cause = events[command.event_index].envelope
            out.append(_send(saga, command, cause, self._at))
        self._sagas[order_id] = self.changed[order_id] = saga
        return out

    def save(self) -> None:
        """Writes the rows of all sagas that changed."""
        for order_id, saga in self.changed.items():
            self._rows[order_id] = to_row(saga)


def deadline_passed(saga: OrderSaga, step: str, due_at: datetime, at: datetime) -> Outgoing:
    """The message that a deadline passed; its id follows from saga, step and moment, so repeats are one message."""
    to = Address(SAGA_SOURCE, "sagas", saga.order_id)
    cause = cause_in_a_row(saga.saga_id, to, at, saga.correlation_id)
    id_ = derive_id(saga.saga_id, "deadline", step, due_at.isoformat())
    return Outgoing(SAGAS_DEADLINES, follow(cause, id_, to, DeadlinePassed(step, due_at), at))


def _for_the_trail(acted: Message, at: datetime) -> Outgoing:
    """An operator's act as a record of who did what, and why, in the transaction in which it is done."""
    to = Address(SAGA_SOURCE, "sagas", acted.envelope.subject)
    return Outgoing(AUDIT_TRAIL, follow(acted.envelope, derive_id(acted.envelope.id, "trail"), to, acted.body, at))


def _send(saga: OrderSaga, command: Command, cause: Envelope, at: datetime) -> Outgoing:
    """A command keeps its id when it is sent again: the participant then answers it from what it remembers."""
    step = command.step
    tries = (command.attempt,) if command.attempt else ()
    id_ = derive_id(saga.saga_id, step.command_type, command.line, *tries)
    body = command.body
    if command.asks:
        body = AskStatus(saga.order_id, id_, step.command_type, command.line or None)
        id_ = derive_id(id_, "status")
    to = Address(SAGA_SOURCE, step.aggregatetype, command.subject)
    return Outgoing(step.topic, follow(cause, id_, to, body, at))
