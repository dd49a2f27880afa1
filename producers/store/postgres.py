"""The event store on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from operator import attrgetter
from typing import Any

import psycopg
from psycopg import RawCursor
from psycopg.types.json import Jsonb

from producers.errors import Busy, HistoryBroken, StillRunning
from producers.store.appending import EVENTS_MAX, append_alone, move_and_insert
from producers.store.connections import Connection, Pool, PooledConnection
from producers.store.port import DONE, RUNNING, Answer, Append, CommandId, Head, KnownCommand
from schemas import outbox
from schemas.codec import Codec
from schemas.envelope import Envelope, Message
from schemas.errors import Conflict, Damaged, Undecodable
from schemas.records import decode_body
from schemas.topics import TOPICS

# The lock is asked for, never waited for: a repeat that comes while the first runs must be told so at once.
# Should the first end between the two statements, the row that it left is found by the second.
# The head comes with it: to ask for it in a statement of its own takes as long again.
_BEGIN = """
with begun as (
    insert into commands (id, scope, body_hash, state)
    select %(id)s::uuid, %(scope)s, %(body_hash)s, %(state)s
    where pg_try_advisory_xact_lock(hashtextextended(%(id)s::uuid::text, 0))
    on conflict (id) do nothing
    returning id
)
select heads.version, snapshot, snapshot_version, heads.recorded_at
from begun left join heads on aggregatetype = %(aggregatetype)s and aggregateid = %(aggregate_id)s
"""
_FIND_COMMAND = "select id, body_hash, state, answer from commands where id = %s"
_FINISH = "update commands set state = %s, answer = %s, recorded_at = clock_timestamp() where id = %s"
_HEAD = """
select version, snapshot, snapshot_version, recorded_at from heads where aggregatetype = %s and aggregateid = %s
"""
_INSERT_ROW = f"insert into outbox ({', '.join(outbox.COLUMNS)}) values ({', '.join('%s' for _ in outbox.COLUMNS)})"
_row = attrgetter(*outbox.COLUMNS)
_HISTORY = """
select id::text, type, source, aggregatetype, aggregateid, version, created_at, correlationid, causationid,
       traceparent, payload
from outbox where aggregatetype = %s and aggregateid = %s and version between %s and %s order by version
"""


Moved = psycopg.Cursor[tuple[Any, ...]]


class PostgresUnit:
    """A unit of work on a connection that the caller owns: it neither commits nor rolls back.

    Waits for locks end with psycopg's LockNotAvailable after the connection's lock_timeout.
    """

    def __init__(self, connection: Connection, codec: Codec) -> None:
        self.connection, self._codec = connection, codec
        # Heads that were asked to move, and what tells whether they did; None outside of `together`.
        self._moves: list[tuple[Head, Moved]] | None = None

    def begin_command(self, command: CommandId, aggregatetype: str, aggregate_id: str) -> KnownCommand | Head:
        """See `UnitOfWork.begin_command`."""
        given = {"id": command.id, "scope": command.scope, "body_hash": command.body_hash, "state": RUNNING}
        given |= {"aggregatetype": aggregatetype, "aggregate_id": aggregate_id}
        row = self.connection.execute(_BEGIN, given).fetchone()
        if row is not None:
            return head_of(aggregatetype, aggregate_id, row)
        known = find_command(self.connection, command.id)
        if known is None:
            raise StillRunning(command.id)
        return known

    def find_command(self, command_id: str) -> KnownCommand | None:
        """See `UnitOfWork.find_command`."""
        return find_command(self.connection, command_id)

    def finish_command(self, command_id: str, answer: Answer) -> None:
        """See `UnitOfWork.finish_command`."""
        self.connection.execute(_FINISH, (DONE, Jsonb(answer.to_json()), command_id))

    def load_head(self, aggregatetype: str, aggregate_id: str) -> Head:
        """See `UnitOfWork.load_head`."""
        return find_head(self.connection, aggregatetype, aggregate_id)

    def append(self, append: Append) -> None:
        """See `UnitOfWork.append`."""
        first, later = append.events[:EVENTS_MAX], append.events[EVENTS_MAX:]
        statement, given = move_and_insert(append, first, self._codec)
        with self.together():
            inserted = RawCursor(self.connection).execute(
                statement, [Jsonb(value) if isinstance(value, dict) else value for value in given], prepare=True
            )
            assert self._moves is not None
            self._moves.append((append.head, inserted))
            self._insert(TOPICS[f"{append.head.aggregatetype}.events"].name, later)

    def send(self, topic: str, message: Message) -> None:
        """See `UnitOfWork.send`."""
        self._insert(topic, (message,))

    @contextmanager
    def together(self) -> Iterator[None]:
        """See `UnitOfWork.together`: a round trip to the server costs more than what it does there."""
        if self._moves is not None:
            yield
            return
        moves: list[tuple[Head, Moved]] = []
        self._moves = moves
        try:
            with self.connection.pipeline():
                yield
        except psycopg.errors.UniqueViolation:
            # Behind a head that had moved, a later event of a long append was there as well.
            _raise_conflict(moves)
            raise
        finally:
            self._moves = None
        _raise_conflict(moves)

    def _insert(self, topic: str, messages: tuple[Message, ...]) -> None:
        for message in messages:
            self.connection.execute(_INSERT_ROW, _row(outbox.from_message(topic, message, self._codec)))


def _raise_conflict(moves: list[tuple[Head, Moved]]) -> None:
    for head, moved in moves:
        if moved.rowcount == 0:
            raise Conflict(head.aggregatetype, head.aggregate_id, head.version)


class PostgresEventStore:
    """An event store over a pool of connections to one service's database."""

    def __init__(self, pool: Pool, codec: Codec) -> None:
        self._pool, self._codec = pool, codec

    @contextmanager
    def transaction(self) -> Iterator[PostgresUnit]:
        """See `EventStore.transaction`."""
        with self._pool.connection() as connection:
            try:
                yield PostgresUnit(connection, self._codec)
            except (Busy, StillRunning):
                raise
            except psycopg.errors.LockNotAvailable as held:
                raise Busy(self._pool.name) from held

    def append(self, append: Append) -> None:
        """See `EventStore.append`."""
        with self._pool.each_alone() as connection:
            self._append(connection, append)

    def append_behind(self, expected: Head, make: Callable[[Head], Append]) -> Append:
        """See `EventStore.append_behind`."""
        with self._pool.each_alone() as connection:
            head = expected
            # A new aggregate has no head to load; should it have one after all, the append conflicts.
            if head.version and head.snapshot is None:
                head = find_head(connection, head.aggregatetype, head.aggregate_id)
            if head.version != expected.version:
                raise Conflict(expected.aggregatetype, expected.aggregate_id, expected.version)
            append = make(head)
            self._append(connection, append)
            return append

    def _append(self, connection: PooledConnection, append: Append) -> None:
        try:
            if len(append.events) <= EVENTS_MAX:
                append_alone(connection, append, self._codec)
                return
            with connection.transaction():
                PostgresUnit(connection, self._codec).append(append)
        except psycopg.errors.LockNotAvailable as held:
            raise Busy(self._pool.name) from held

    def read(
        self, aggregatetype: str, aggregate_id: str, from_version: int = 1, to_version: int | None = None
    ) -> list[Message]:
        """See `EventStore.read`."""
        with self._pool.each_alone() as connection:
            # The head first: events that come after it was read are cut off, so no gap can show at the seam.
            head = find_head(connection, aggregatetype, aggregate_id)
            last = head.version if to_version is None else min(to_version, head.version)
            rows = connection.execute(_HISTORY, (aggregatetype, aggregate_id, from_version, last)).fetchall()
        history = [self._message(row) for row in rows]
        found = [row[5] for row in rows]
        if found != list(range(from_version, last + 1)):
            raise HistoryBroken(head.name, head.version, found)
        return history

    def find_head(self, aggregatetype: str, aggregate_id: str) -> Head:
        """See `EventStore.find_head`."""
        with self._pool.each_alone() as connection:
            return find_head(connection, aggregatetype, aggregate_id)

    def find_command(self, command_id: str) -> KnownCommand | None:
        """See `EventStore.find_command`."""
        with self._pool.each_alone() as connection:
            return find_command(connection, command_id)

    def _message(self, row: tuple[Any, ...]) -> Message:
        *attributes, payload = row
        id_, type_, source, aggregatetype, subject, version, created_at, correlation, causation, traceparent = (
            attributes
        )
        envelope = Envelope(
            id=id_,
            type=type_,
            source=source,
            aggregatetype=aggregatetype,
            subject=subject,
            version=version,
            recorded_at=created_at.astimezone(UTC),
            correlation_id=correlation or id_,
            causation_id=causation or id_,
            traceparent=traceparent,
        )
        try:
            return Message(envelope, decode_body(envelope, bytes(payload), self._codec))
        except Undecodable as error:
            raise Damaged(f"outbox row {id_}", error.reason, "`tally fsck` tells whether Kafka has it whole") from None


def find_head(connection: Connection, aggregatetype: str, aggregate_id: str) -> Head:
    """The head row; version 0 where there is none."""
    row = connection.execute(_HEAD, (aggregatetype, aggregate_id)).fetchone()
    return head_of(aggregatetype, aggregate_id, row or (None, None, None, None))


def head_of(aggregatetype: str, aggregate_id: str, columns: tuple[Any, ...]) -> Head:
    """A head from its columns version, snapshot, snapshot_version and recorded_at; all None where there is no row."""
    version, snapshot, snapshot_version, recorded_at = columns
    if version is None:
        return Head(aggregatetype, aggregate_id)
    return Head(aggregatetype, aggregate_id, version, snapshot, snapshot_version, recorded_at.astimezone(UTC))


def find_command(connection: Connection, command_id: str) -> KnownCommand | None:
    """What is stored under a command id."""
    row = connection.execute(_FIND_COMMAND, (command_id,)).fetchone()
    if row is None:
        return None
    id_, hash_, state, answer = row
    return KnownCommand(str(id_), hash_, state, None if answer is None else Answer.from_json(answer))
