"""Waiting in tests of an outbox, and where everything stands when it was in vain.

Every part says what kept it from answering instead of failing: it is asked when something is wrong already.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, LiteralString

import psycopg
import pytest
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from psycopg.rows import dict_row

from connectors.outbox import Metrics
from connectors.outbox.positions import format_position

WITHIN_S = 60.0
_LONG_ANSWER_S = 10.0
_ANSWER_WITHIN_S = 10
_FRAMES = 8
_DATABASE: dict[str, LiteralString] = {
    "log": "select pg_current_wal_insert_lsn() as inserted, pg_current_wal_lsn() as written, pg_current_wal_flush_lsn() as flushed",
    "slot": "select slot_name, active_pid, restart_lsn, confirmed_flush_lsn, wal_status from pg_replication_slots"
    " where database = current_database()",
    "sender": "select pid, state, sent_lsn, flush_lsn, reply_time from pg_stat_replication"
    " where pid in (select pid from pg_stat_activity where datname = current_database())",
    "session": "select pid, backend_type, state, wait_event_type, wait_event, pg_blocking_pids(pid) as blocked_by,"
    " clock_timestamp() - state_change as since, left(query, 80) as query from pg_stat_activity"
    " where (datname = current_database() and pid <> pg_backend_pid()) or backend_type = 'walwriter'",
}


def stacks() -> str:
    """What every thread of this process is doing."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame, _FRAMES))}"
        for ident, frame in sys._current_frames().items()
    )


def until(
    question: Callable[[], Any], what: str, within_s: float = WITHIN_S, standing: Callable[[], str] = stacks
) -> Any:
    """The first true answer; fails the test when there is none in time, and says where everything stands."""
    begun, asked, longest_s, paused_s = time.monotonic(), 0, 0.0, 0.0
    while True:
        asked_at = time.monotonic()
        if answer := _watched(question):
            return answer
        answered_at = time.monotonic()
        asked, longest_s = asked + 1, max(longest_s, answered_at - asked_at)
        # The last question is asked after the deadline: a machine that stood still meanwhile proves nothing.
        if asked_at - begun > within_s:
            times = (
                f"asked {asked} times, the longest answer took {longest_s:.1f} s, the longest pause {paused_s:.1f} s"
            )
            pytest.fail(f"not within {within_s} s: {what}; {times}\n{standing()}")
        time.sleep(0.01)
        paused_s = max(paused_s, time.monotonic() - answered_at)


def of_connector(name: str, metrics: Metrics) -> str:
    """One line."""
    places = {"stored": metrics.stored_position, "confirmed": metrics.confirmed_position}
    positions = ", ".join(
        f"{what} {format_position(at)}" for what, at in (places | {"server": metrics.server_position}).items()
    )
    return (
        f"connector {name}: {metrics.state}, {metrics.rows_total} rows in {metrics.batches_total} batches, {positions}, "
        f"last sign {time.monotonic() - metrics.beat_s:.1f} s ago"
    )


def of_database(url: str) -> str:
    """The log, slots, their readers and all sessions."""
    return _said("database", lambda: _database(url))


def of_topics(admin: AdminClient, part_of_name: str) -> str:
    """Of every partition: the first offset, the end of what is committed, and the end."""
    return _said("topics", lambda: _topics(admin, part_of_name))


def _watched(question: Callable[[], Any]) -> Any:
    """Its answer; while it is long in coming, all stacks go to the standard error, even if a library holds Python's lock."""
    faulthandler.dump_traceback_later(_LONG_ANSWER_S, repeat=True, file=sys.__stderr__)
    try:
        return question()
    finally:
        faulthandler.cancel_dump_traceback_later()


def _said(what: str, lines: Callable[[], Iterable[str]]) -> str:
    try:
        return "\n".join(lines())
    except Exception as error:
        return f"{what}: {error!r}"


def _database(url: str) -> Iterator[str]:
    timeout = f"-c statement_timeout={_ANSWER_WITHIN_S}s"
    with psycopg.connect(
        url, autocommit=True, connect_timeout=_ANSWER_WITHIN_S, options=timeout, row_factory=dict_row
    ) as connection:
        for what, query in _DATABASE.items():
            for row in connection.execute(query):
                yield f"{what}: " + ", ".join(f"{name} {value}" for name, value in row.items())


def _topics(admin: AdminClient, part_of_name: str) -> Iterator[str]:
    known = admin.list_topics(timeout=_ANSWER_WITHIN_S).topics
    places = [
        TopicPartition(name, part) for name, topic in known.items() if part_of_name in name for part in topic.partitions
    ]

    def offsets(spec: OffsetSpec, level: IsolationLevel) -> dict[TopicPartition, int]:
        asked = admin.list_offsets(dict.fromkeys(places, spec), isolation_level=level, request_timeout=_ANSWER_WITHIN_S)
        return {place: future.result(_ANSWER_WITHIN_S).offset for place, future in asked.items()}

    low = offsets(OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED)
    stable = offsets(OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)
    high = offsets(OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)
    for place in sorted(low, key=lambda place: (place.topic, place.partition)):
        yield f"partition {place.topic}[{place.partition}]: {low[place]} to {stable[place]} committed, {high[place]} written"
