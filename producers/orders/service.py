"""What HTTP may do with orders: each wish is a command with an id derived from caller, route and key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from producers.orders.aggregate import ORDERS
from producers.store.deciding import handle_with_retries
from producers.store.port import Answer, EventStore, KnownCommand
from schemas.envelope import Envelope, Message, derive_id, new_id, now
from schemas.messages import CreateOrder, wire_type

SOURCE = "/tally/api"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a wish came from; the same origin means the same command."""

    caller: str
    route: str
    key: str
    traceparent: str | None = None

    @property
    def command_id(self) -> str:
        """The id of the command that this wish becomes."""
        return derive_id(self.caller, self.route, self.key)


class OrderService:
    """Orders for the API; blocks on the database, safe to share between threads."""

    def __init__(self, store: EventStore, clock: Callable[[], datetime] = now) -> None:
        self._store, self._clock = store, clock

    def place(self, origin: Origin, order: CreateOrder) -> tuple[str, Answer]:
        """Creates the order: its id, which follows from the origin, and the answer.

        Raises CommandIdReused, StillRunning, Busy, Conflict (still, after the last try).
        """
        order_id = derive_id(origin.command_id, "order")
        return order_id, self._do(origin, order_id, order)

    def act(self, origin: Origin, order_id: str, body: Any) -> Answer:
        """Does a command to an order (cancel, ship, take lines back). Raises as `place`."""
        return self._do(origin, order_id, body)

    def tail(self, order_id: str, from_version: int, to_version: int) -> list[Message]:
        """Events of an order that the outbox holds, both versions included. Raises HistoryBroken where one lacks."""
        return self._store.read(ORDERS.aggregatetype, order_id, from_version, to_version)

    def version(self, order_id: str) -> int:
        """The order's version; 0 for an unknown one."""
        return self._store.find_head(ORDERS.aggregatetype, order_id).version

    def find_command(self, command_id: str) -> KnownCommand | None:
        """What is known of a command of orders."""
        return self._store.find_command(command_id)

    def _do(self, origin: Origin, order_id: str, body: Any) -> Answer:
        command = command_message(origin, ORDERS.aggregatetype, order_id, body, self._clock())
        answer = handle_with_retries(self._store, ORDERS, command, command.envelope.recorded_at)
        assert answer is not None, "no command of an order is postponed"
        return answer


def command_message(origin: Origin, aggregatetype: str, subject: str, body: Any, recorded_at: datetime) -> Message:
    """A wish as a command message; it begins an affair of its own."""
    id_ = origin.command_id
    envelope = Envelope(
        id=id_,
        type=wire_type(type(body)),
        source=SOURCE,
        aggregatetype=aggregatetype,
        subject=subject,
        version=None,
        recorded_at=recorded_at,
        correlation_id=new_id(),
        causation_id=id_,
        traceparent=origin.traceparent,
    )
    return Message(envelope, body)
