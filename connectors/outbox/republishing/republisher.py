"""Sends rows of the table once more, with the same ids, by the process that owns the connector and between its batches.

Steps of one piece: 1. whole groups are chosen, as many as the rate allows; 2. their rows are sent; 3. the progress is
written; 4. the position as it stands is stored; 5. the batch is committed. A kill anywhere leaves the progress and the
rows that it counts in Kafka, or neither.

Order: of each aggregate the rows go out together, oldest first, and only while none of them is under way in the stream.
So the last record of an aggregate is its newest row as before, if the bounds leave none of its rows out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import structlog

from connectors.outbox.beside.horizon import Horizon, ask_horizon
from connectors.outbox.config import OutboxConfig
from connectors.outbox.database import connect
from connectors.outbox.metrics import Metrics
from connectors.outbox.outboxes import Outboxes
from connectors.outbox.positions import StoredPosition
from connectors.outbox.publisher import Publisher
from connectors.outbox.query_rows import rows_of
from connectors.outbox.republishing.asked import Progress, Republish
from connectors.outbox.republishing.wanted import Group, Unanswerable, Wanted
from connectors.outbox.routing import Record, Route, Unroutable
from connectors.outbox.sender import Sender
from connectors.outbox.waiting.keeper import Waiting

_log = structlog.get_logger()

# A piece is a quarter of a second's rows, and never more than these; but an aggregate is never split.
_PIECES_PER_S = 4
_PIECE_ROWS_MAX = 5_000
# An aggregate with rows under way is waited for, all of them together no longer than a minute: then it is sent with
# them, and the stream sends these once more behind.
_PATIENCE_S, _PATIENCE_TOTAL_S = 5.0, 60.0
_LOOK_AGAIN_S = 0.05
_ANSWER_WITHIN_S = 30
# No transaction of the log begins at 1, so these places are its own.
_POSITION = 1
_BAD_BOUNDS = (psycopg.DataError, psycopg.ProgrammingError, psycopg.errors.QueryCanceled, Unanswerable)


class Republisher:
    """One for each stream. `goes_on` keeps the database's connection alive, and False ends the work where it stands."""

    def __init__(
        self,
        config: OutboxConfig,
        outboxes: Outboxes,
        sender: Sender,
        publisher: Publisher,
        waiting: Waiting,
        metrics: Metrics,
        goes_on: Callable[[], bool],
    ) -> None:
        self._config, self._outboxes, self._sender, self._publisher = config, outboxes, sender, publisher
        self._waiting, self._metrics, self._goes_on = waiting, metrics, goes_on
        self._connection: psycopg.Connection | None = None
        self._pending: Horizon | None = None
        self._passed: Horizon | None = None
        self._next_at = 0.0
        self._unsure: tuple[str, ...] | None = None
        self._unsure_since = self._waited_s = 0.0

    def serve(self, stored: StoredPosition) -> None:
        """The next piece, when it is due. Raises what `Publisher.commit` does, psycopg.OperationalError."""
        found = next(((key, one) for key, one in self._waiting.republish.items() if not one.progress.done), None)
        if found is None:
            self.close()
            return
        key, request = found
        if time.monotonic() < self._next_at or not self._goes_on():
            return
        if request.cancelled:
            self._end(key, request, stored, "cancelled")
            return
        try:
            self._piece(key, request, stored)
        except _BAD_BOUNDS as error:
            self._publisher.abort()
            self._end(key, request, stored, str(error).strip().splitlines()[0])

    def close(self) -> None:
        """Ends the connection."""
        self._pending = self._passed = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _piece(self, key: bytes, request: Republish, stored: StoredPosition) -> None:
        if self._connection is None:
            self._connection = connect(self._config, answer_within_s=_ANSWER_WITHIN_S)
        horizon = self._horizon(self._connection, stored)
        if horizon is None:
            self._next_at = time.monotonic() + _LOOK_AGAIN_S
            return
        tables, progress = self._config.tables, request.progress
        if progress.table >= len(tables):
            self._end(key, request, stored, "")
            return
        wanted = Wanted(self._config, self._outboxes.tables[tables[progress.table]], request.bounds, progress.keyless)
        if request.dry_run:
            counted = replace(progress, table=progress.table + 1, sent=progress.sent + wanted.count(self._connection))
            self._keep(key, replace(request, progress=counted), stored)
            return
        with _snapshot(self._connection) as connection:
            groups = wanted.groups(connection, progress, horizon)
            if not groups:
                self._keep(key, replace(request, progress=_next_part(progress)), stored)
            elif piece := self._sure(groups, request.rows_per_second):
                self._send(connection, wanted, piece, key, request, stored)

    def _horizon(self, connection: psycopg.Connection, stored: StoredPosition) -> Horizon | None:
        """The newest one that the stored position has passed; the next is asked for at once."""
        if self._pending is not None and stored.position >= self._pending.position:
            self._passed, self._pending = self._pending, None
        if self._pending is None:
            self._pending = ask_horizon(connection)
        return self._passed

    def _sure(self, groups: list[Group], rows_per_second: float) -> list[Group]:
        """As many as the rate allows, up to the first with rows under way, which is waited for."""
        piece: list[Group] = []
        room = min(_PIECE_ROWS_MAX, max(1, round(rows_per_second / _PIECES_PER_S)))
        for group in groups:
            if room <= 0 or not (group.is_published or (not piece and self._waited_enough(group))):
                break
            piece.append(group)
            room -= group.rows
        if not piece:
            self._next_at = time.monotonic() + _LOOK_AGAIN_S
        return piece

    def _waited_enough(self, group: Group) -> bool:
        now = time.monotonic()
        if self._unsure != group.at:
            self._unsure, self._unsure_since = group.at, now
        waited_s = now - self._unsure_since
        if waited_s < _PATIENCE_S and self._waited_s + waited_s < _PATIENCE_TOTAL_S:
            return False
        self._waited_s += waited_s
        _log.warning("rows under way are sent with those before them", aggregate="/".join(group.at))
        return True

    def _send(
        self,
        connection: psycopg.Connection,
        wanted: Wanted,
        piece: list[Group],
        key: bytes,
        request: Republish,
        stored: StoredPosition,
    ) -> None:
        table = self._config.tables[request.progress.table]
        not_published = {entry.row_id for entry in self._waiting.blocked}
        progress = replace(request.progress, after=piece[-1].at)
        route: Route | None = None
        for columns, rows in rows_of(connection, wanted.rows(piece[0], piece[-1])):
            route = route or self._outboxes.route_of_query(table, columns)
            for values in rows:
                if route.row_id(values) in not_published:
                    progress = replace(progress, held=progress.held + 1)
                    continue
                if not self._publisher.is_open:
                    self._publisher.begin()
                try:
                    self._sender.put(route, values, (_POSITION, progress.rows))
                    progress = replace(progress, sent=progress.sent + 1)
                except Unroutable as refused:
                    progress = replace(progress, refused=progress.refused + 1)
                    _log.warning("row not sent again", row=route.row_id(values), reason=refused.reason)
            self._publisher.serve()
            self._goes_on()
        self._keep(key, replace(request, progress=progress), stored)
        self._metrics.republished_total += progress.sent - request.progress.sent
        looked_at = progress.rows - request.progress.rows
        self._next_at = max(self._next_at, time.monotonic()) + looked_at / request.rows_per_second

    def _keep(self, key: bytes, request: Republish, stored: StoredPosition) -> None:
        """Writes the progress into the batch, and ends the batch."""
        if not self._publisher.is_open:
            self._publisher.begin()
        self._publisher.put(Record(self._config.waiting_topic, key, request.to_json(), []))
        self._sender.settle()
        self._publisher.commit(stored)
        self._sender.trust()
        self._waiting.republish[key] = request

    def _end(self, key: bytes, request: Republish, stored: StoredPosition, fault: str) -> None:
        """What ended before is forgotten with it, should nobody have asked for its end."""
        before = [other for other, one in self._waiting.republish.items() if one.progress.done]
        self._publisher.begin()
        for other in before:
            self._publisher.put(Record(self._config.waiting_topic, other, None, []))
        self._keep(key, replace(request, progress=replace(request.progress, done=True, fault=fault)), stored)
        for other in before:
            del self._waiting.republish[other]
        found = request.progress
        _log.info("republished", rows=found.sent, refused=found.refused, held=found.held, fault=fault or None)


def _next_part(progress: Progress) -> Progress:
    """After the rows with a key those without, then the next table."""
    if progress.keyless:
        return replace(progress, table=progress.table + 1, keyless=False, after=None)
    return replace(progress, keyless=True, after=None)


@contextmanager
def _snapshot(connection: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """Groups and their rows must be those of one moment."""
    connection.execute("begin isolation level repeatable read read only")
    try:
        yield connection
    finally:
        connection.execute("rollback")
