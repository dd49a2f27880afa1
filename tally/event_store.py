"""The event store as a program sees it: append behind a version, read one aggregate, read a topic.

    with EventStore.of("orders") as store:
        store.append(order_id, [OrderShipped()], expected_version=2)
        for event in store.read(order_id):
            print(event["type"], event["data"])

Events that come out are plain: `{id, type, aggregateId, data, timestamp, version}`; those that go in are bodies, the
classes of `schemas.messages`. PostgreSQL gates and Kafka remembers: an append is a transaction in the database of the
service, a read comes from Kafka by the workers' index, with the tail that it lacks from the outbox.

EventStoreError
├── NotAppendable    only the worker that owns the partition writes these events; send it commands
├── WrongEvent       a body that is no message, or an id of no aggregate
└── HistoryBehind    the index has not reached the version that the aggregate stands at, and nothing else can tell
A moved history raises `schemas.errors.Conflict`, a held one `producers.errors.Busy`; an event that cannot be read
`schemas.errors.DamagedRecord` with topic, partition, offset, reason and remedy (`Damaged` where it is in an outbox).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self

from producers.errors import HistoryBroken
from producers.orders.aggregate import ORDERS
from producers.payments.aggregate import payment_aggregate
from producers.store.connections import Pool, PoolSize, open_pool
from producers.store.deciding import Aggregate, Loaded, append_after, fold
from producers.store.port import Append, Head
from producers.store.postgres import PostgresEventStore
from producers.wallets.aggregate import WALLETS
from schemas.codec import AvroCodec, Codec
from schemas.envelope import Envelope, Message, new_id, now, to_json
from schemas.errors import DamagedRecord, Undecodable
from schemas.histories import Row, events_of
from schemas.messages import MESSAGES, wire_type
from schemas.records import decode_record
from schemas.topics import EVENT_TOPICS
from tally.reading.places import WHOLE, Span, parse_span
from tally.reading.reader import Reader
from tally.reading.workers import NotServed
from tally.reading.workers_index import WorkersIndex
from tally.settings import Settings

Event = dict[str, Any]

SOURCE = "/tally/event-store"
# The database whose heads gate an aggregate type, and the rules that fold its snapshot.
DATABASE_BY_TYPE = {"orders": "orders", "payments": "payments", "wallets": "payments"}
AGGREGATE_BY_TYPE: dict[str, Callable[[str], Aggregate[Any]]] = {
    "orders": lambda _: ORDERS,
    "payments": payment_aggregate,
    "wallets": lambda _: WALLETS,
}
POOL = PoolSize(0, 16)
# Aggregates that were appended to last, with their state; about a kilobyte each.
KEPT_MAX = 1_000

# How long a history waits for an index that is a moment behind, and between two looks.
BEHIND_WAIT_S, PAUSE_S = 1.0, 0.05


class EventStoreError(Exception):
    """See the module."""


class NotAppendable(EventStoreError):
    """Only a worker writes events of `aggregatetype`."""

    def __init__(self, aggregatetype: str) -> None:
        super().__init__(
            f"{aggregatetype}.events has one writer, the worker; send a command to {aggregatetype}.commands"
        )


class WrongEvent(EventStoreError):
    """What was given is no event, or has no aggregate."""


class HistoryBehind(EventStoreError):
    """The index ends before the version that is wanted."""

    def __init__(self, aggregate: str, lacks: int, head: int) -> None:
        super().__init__(
            f"{aggregate}: version {lacks} of {head} is neither indexed nor in an outbox; "
            "try again in a moment, and if it stays away ask `tally fsck`"
        )
        self.lacks, self.head = lacks, head


class Index(Protocol):
    """Where histories are indexed; what it has may end anywhere."""

    def rows(self, aggregatetype: str, aggregate_id: str, first: int, last: int) -> list[Row]:
        """Rows from one version to another, as far as they are there. Raises NotServed."""

    def version(self, aggregatetype: str, aggregate_id: str) -> int:
        """The newest version of an aggregate that no database gates; 0 for none. Raises NotServed."""

    def close(self) -> None:
        """Gives connections back."""


class EventStore:
    """Events of one aggregate type. Safe to share between threads; a context manager."""

    def __init__(
        self,
        aggregatetype: str,
        bootstrap: str,
        pool: Pool | None,
        index: Index | None = None,
        codec: Codec | None = None,
    ) -> None:
        self._type, self._bootstrap, self._pool = aggregatetype, bootstrap, pool
        self._codec, self._index = codec or AvroCodec(), index or WorkersIndex(bootstrap)
        self._gate = None if pool is None else PostgresEventStore(pool, self._codec)
        self._kept: dict[tuple[str, str], Loaded[Any]] = {}
        self._keeping = threading.Lock()

    @classmethod
    def of(cls, aggregatetype: str, settings: Settings | None = None) -> EventStore:
        """The store of `orders`, `payments`, `wallets`, `inventory` or `sagas` in the system that the settings name."""
        if f"{aggregatetype}.events" not in EVENT_TOPICS:
            raise WrongEvent(f"there are no events of {aggregatetype}")
        given, service = settings or Settings(), DATABASE_BY_TYPE.get(aggregatetype)
        pool = None if service is None else open_pool(given.database_url(service), f"event-store-{aggregatetype}", POOL)
        return cls(aggregatetype, given.kafka_bootstrap, pool)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back."""
        self._index.close()
        if self._pool is not None:
            self._pool.close()

    def append(self, aggregate_id: str, events: Sequence[Any], expected_version: int) -> list[Event]:
        """Adds events behind `expected_version` (0: the aggregate is new), all or none; they are in Kafka soon after.

        Raises Conflict when the history stands elsewhere, Busy, NotAppendable, WrongEvent.
        """
        if self._gate is None:
            raise NotAppendable(self._type)
        if not aggregate_id or not events:
            raise WrongEvent("an append needs an aggregate's id and at least one event")
        for body in events:
            if MESSAGES.get(wire_type(type(body))) is not type(body):
                raise WrongEvent(f"{type(body).__name__} is no message of ours")
        aggregate, id_ = AGGREGATE_BY_TYPE[self._type](aggregate_id), new_id()
        # Events are caused by something; where nobody says by what, by this append.
        cause = Message(Envelope(id_, "APPEND", SOURCE, self._type, aggregate_id, None, now(), id_, id_), None)
        key, given, state = (self._type, aggregate_id), tuple(events), aggregate.initial
        kept = self._kept.get(key)
        expected = (
            kept.head if kept is not None and kept.head.version == expected_version else Head(*key, expected_version)
        )

        def make(head: Head) -> Append:
            nonlocal state
            before = kept.state if kept is not None and head is kept.head else aggregate.state_of(head)
            state = fold(aggregate, before, given)
            return append_after(aggregate, head, given, cause, state)

        append = self._gate.append_behind(expected, make)
        self._keep(append, state)
        return [to_json(event) for event in append.events]

    def _keep(self, append: Append, state: Any) -> None:
        """Remembers where an append left its aggregate: whoever writes to one mostly goes on where they stopped."""
        head, last = append.head, append.events[-1].envelope
        assert last.version is not None
        key = (head.aggregatetype, head.aggregate_id)
        moved = Head(*key, last.version, append.snapshot, append.snapshot_version, last.recorded_at)
        with self._keeping:
            self._kept.pop(key, None)
            self._kept[key] = Loaded(moved, state)
            if len(self._kept) > KEPT_MAX:
                del self._kept[next(iter(self._kept))]

    def read(self, aggregate_id: str, from_version: int = 1, to_version: int | None = None) -> list[Event]:
        """One aggregate's events by version, both ends included; up to where it stands now without `to_version`.

        The head comes first, so neither gap nor repeat can show between index and outbox.
        Empty for an unknown aggregate. Raises HistoryBehind, also for a gap that nothing fills; `schemas.errors.Damaged`,
        `tally.reading` errors.
        """
        head = self._head(aggregate_id)
        last = head if to_version is None else min(to_version, head)
        events: list[Message] = []
        until = time.monotonic() + BEHIND_WAIT_S
        while (next_version := from_version + len(events)) <= last:
            events += self._indexed(aggregate_id, next_version, last)
            events += self._tail(aggregate_id, from_version + len(events), last)
            if from_version + len(events) <= last:
                # The index follows a moment behind the row that told the head, or a worker has just taken over.
                if time.monotonic() >= until:
                    raise HistoryBehind(f"{self._type}/{aggregate_id}", from_version + len(events), last)
                time.sleep(PAUSE_S)
        return [to_json(event) for event in events]

    def read_all(self, span: str = "beginning", topic: str | None = None) -> Iterator[Event]:
        """Every event of the topic from place to place (as `-o` says it), to the end that stands now.

        In order within an aggregate, not between them. Raises DamagedRecord, UnknownTopic, Unreachable, ValueError.
        """
        where: Span = WHOLE if span == "beginning" else parse_span(span, datetime.now(UTC))
        name = topic or f"{self._type}.events"
        with Reader(self._bootstrap) as reader:
            places = [(name, number) for number in reader.partitions(name)]
            bounds = {place: reader.resolve(where, place, "") for place in places}
            starts = {place: start for place, (start, _) in bounds.items()}
            ends = {place: reader.bounds(place)[1] if end is None else end for place, (_, end) in bounds.items()}
            for found in reader.read(starts, ends):
                if found is None:
                    continue
                try:
                    yield to_json(decode_record(found.headers, found.value, self._codec))
                except Undecodable as error:
                    raise DamagedRecord(name, found.partition, found.offset, error.reason) from None

    def _head(self, aggregate_id: str) -> int:
        if self._gate is not None:
            return self._gate.find_head(self._type, aggregate_id).version
        return self._index.version(self._type, aggregate_id)

    def _indexed(self, aggregate_id: str, first: int, last: int) -> list[Message]:
        """What the index has from `first` on without a gap; where the outbox may have it, nothing without a worker."""
        try:
            rows = self._index.rows(self._type, aggregate_id, first, last)
        except NotServed:
            if self._gate is None:
                raise
            return []
        return events_of(rows, (self._type, aggregate_id), first, self._codec)

    def _tail(self, aggregate_id: str, first: int, last: int) -> list[Message]:
        """All that the index lacks, from the outbox; nothing where that does not have it whole (any more)."""
        if self._gate is None or first > last:
            return []
        try:
            return self._gate.read(self._type, aggregate_id, first, last)
        except HistoryBroken:
            return []
