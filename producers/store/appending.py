"""An append in one statement; alone it is a transaction of its own, so one request and one commit.

The head moves in a common table expression and the outbox rows are inserted for the head that moved. Where another
writer was first nothing moves, nothing is inserted, and the statement's count says so. In a unit of work the same takes
the requests BEGIN, statements and COMMIT.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count
from operator import attrgetter

from producers.store.connections import PooledConnection
from producers.store.port import Append
from schemas import outbox
from schemas.codec import Codec
from schemas.envelope import Message
from schemas.errors import Conflict
from schemas.topics import TOPICS

# The server keeps a prepared statement for each count of events and each connection; longer appends are rare.
EVENTS_MAX = 8

_FIRST = """
insert into heads (version, snapshot, snapshot_version, recorded_at, aggregatetype, aggregateid)
values ($1, $2, $3, $4, $5, $6)
on conflict (aggregatetype, aggregateid) do nothing
"""
_MOVE = """
update heads set version = $1, snapshot = $2, snapshot_version = $3, recorded_at = $4
where aggregatetype = $5 and aggregateid = $6 and version = $7 and recorded_at = $8
"""
_FIRST_GIVEN, _MOVE_GIVEN = 6, 8
# What the rows share with the head goes to the server once.
_OF_HEAD = {"created_at": "$4", "aggregatetype": "$5", "aggregateid": "$6"}
_OF_ROW = tuple(name for name in outbox.COLUMNS if name not in _OF_HEAD)
_TYPES = {"id": "uuid", "payload": "bytea", "version": "bigint"}
_row = attrgetter(*_OF_ROW)


def append_alone(connection: PooledConnection, append: Append, codec: Codec) -> None:
    """Appends up to EVENTS_MAX events on a connection on which each statement is a transaction.

    Raises Conflict, and psycopg's LockNotAvailable while another transaction holds the head.
    """
    head = append.head
    statement, given = move_and_insert(append, append.events, codec)
    # A row that is there already behind a head that moved is damage, and is raised as what it is.
    if connection.execute_again(statement, given) != len(append.events):
        raise Conflict(head.aggregatetype, head.aggregate_id, head.version)


def move_and_insert(append: Append, events: tuple[Message, ...], codec: Codec) -> tuple[bytes, list[object]]:
    """The statement that moves the head behind all events of `append` and inserts `events` of them, and its parameters.

    It inserts them all, or none where the head is elsewhere. `$1` and so on stand in it; EVENTS_MAX events at most.
    """
    head, last = append.head, append.events[-1].envelope
    topic = TOPICS[f"{head.aggregatetype}.events"].name
    given: list[object] = [last.version, append.snapshot, append.snapshot_version, last.recorded_at]
    given += [head.aggregatetype, head.aggregate_id]
    if head.version:
        # A head that was kept in memory may be of a history that a restore has undone: the version alone could fit.
        given += [head.version, head.recorded_at]
    for event in events:
        given += _row(outbox.from_message(topic, event, codec))
    return _statement(head.version == 0, len(events)), given


@cache
def _statement(is_first: bool, events: int) -> bytes:
    numbers = count(1 + (_FIRST_GIVEN if is_first else _MOVE_GIVEN))
    rows = ", ".join(f"({', '.join(_value(name, numbers) for name in outbox.COLUMNS)})" for _ in range(events))
    columns = ", ".join(outbox.COLUMNS)
    move = _FIRST if is_first else _MOVE
    return (
        f"with moved as ({move} returning version) insert into outbox ({columns}) "
        f"select row.* from moved, (values {rows}) as row ({columns})"
    ).encode()


def _value(name: str, numbers: Iterator[int]) -> str:
    return _OF_HEAD.get(name) or f"${next(numbers)}::{_TYPES.get(name, 'text')}"
