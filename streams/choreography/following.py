"""A follower at work: events in, commands out; what is owed is sent again until events show that it is done."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from schemas.envelope import Envelope, Message, derive_id
from schemas.messages import wire_type
from streams.choreography.known import Known, evolve, order_of
from streams.choreography.owing import Follower, Owed
from streams.outgoing import Outgoing
from streams.sagas.engine.declaration import Waits
from streams.sagas.steps import ORDER_TIMEOUT

SOURCE = "/tally/choreography"
WAITS = Waits()

# What was sent already: (type, line), which is owed until it is done.
Sent = frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Followed:
    """One order as one follower has it: what is known, what it has asked for, how often, and when it looks again."""

    known: Known = field(default_factory=Known)
    sent: Sent = frozenset()
    attempts: int = 0
    due_at: datetime | None = None


Orders = dict[str, Followed]


def hear(follower: Follower, orders: Orders, event: Message, at: datetime) -> list[Outgoing]:
    """An event of any of the three topics; gives what is to be sent."""
    order_id = order_of(event)
    if order_id is None:
        return []
    before = orders.get(order_id, Followed(Known(order_id)))
    known = evolve(before.known, event, at)
    if known == before.known:
        return []
    return _act(follower, orders, replace(before, known=known), at, again=False)


def look_again(follower: Follower, orders: Orders, order_id: str, at: datetime) -> list[Outgoing]:
    """The moment `due_at` came: all that is still owed is sent once more, under ids of its own."""
    return _act(follower, orders, orders[order_id], at, again=True)


def _act(follower: Follower, orders: Orders, followed: Followed, at: datetime, *, again: bool) -> list[Outgoing]:
    known = followed.known
    owed = {(wire_type(type(one.body)), one.line): one for one in follower.owes(known, at)}
    attempts = followed.attempts + 1 if again else followed.attempts
    fresh = owed if again else {place: one for place, one in owed.items() if place not in followed.sent}
    due_at = _due_at(follower, followed, bool(owed), attempts, at)
    orders[known.order_id] = replace(followed, sent=frozenset(owed), attempts=attempts, due_at=due_at)
    return [_send(follower, known, one, attempts, at) for one in fresh.values()]


def _due_at(follower: Follower, followed: Followed, owes: bool, attempts: int, at: datetime) -> datetime | None:
    if owes:
        return at + WAITS.after(attempts)
    known = followed.known
    # Nobody else watches the order's time.
    if follower.name == "orders" and known.status == "CREATED" and known.since is not None:
        return max(known.since + ORDER_TIMEOUT, at + timedelta(milliseconds=1))
    return None


def _send(follower: Follower, known: Known, owed: Owed, attempt: int, at: datetime) -> Outgoing:
    type_ = wire_type(type(owed.body))
    reason: Any = getattr(owed.body, "reason", None)
    id_ = derive_id(known.order_id, SOURCE, type_, owed.line, attempt, reason)
    envelope = Envelope(
        id=id_,
        type=type_,
        source=SOURCE,
        aggregatetype=follower.topic.removesuffix(".commands"),
        subject=owed.key,
        version=None,
        recorded_at=at,
        correlation_id=known.order_id,
        causation_id=id_,
    )
    return Outgoing(follower.topic, Message(envelope, owed.body))
