"""Carries one batch after the other from the tables to Kafka: the steps that the package's first page numbers."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from connectors.outbox.config import OutboxConfig
from connectors.outbox.metrics import Metrics
from connectors.outbox.polling.batches import BatchRecord
from connectors.outbox.polling.claims import Claims, Row
from connectors.outbox.polling.session import Session
from connectors.outbox.polling.statements import BUCKETS
from connectors.outbox.polling.states import RowStates
from connectors.outbox.publisher import Publisher
from connectors.outbox.routing import Record
from connectors.outbox.sender import Sender, Suspicion
from connectors.outbox.steps import AtStep, Step

_log = structlog.get_logger()

# Every so many rows librdkafka may report.
_SERVE_EVERY_ROWS = 1_000
# How often the whole table is looked at: a redriven row lies behind what was read.
_WHOLE_EVERY_S = 1.0
# How often buckets of others are tried when a process has nothing to do in its own: theirs may be frozen or dying.
_BEYOND_EVERY_S = 0.5
_WARN_AFTER_S = 60.0


class Carrier:
    """One session's work. Raises psycopg.Error, and what Publisher, Sender and Claims raise."""

    def __init__(
        self,
        config: OutboxConfig,
        session: Session,
        tables: Sequence[Claims],
        publisher: Publisher,
        sender: Sender,
        suspicion: Suspicion,
        states: RowStates,
        metrics: Metrics,
        at_step: AtStep,
    ) -> None:
        self._config, self._session, self._tables = config, session, tables
        self._publisher, self._sender, self._states, self._metrics = publisher, sender, states, metrics
        self._suspicion, self._at_step = suspicion, at_step
        self._whole_at = self._beyond_at = 0.0
        self._warn_at = time.monotonic() + _WARN_AFTER_S
        self.seats: Sequence[int] = (session.seat,)

    @property
    def is_held_up(self) -> bool:
        """Whether rows wait for an open transaction that may yet add smaller numbers."""
        return any(table.settled.is_waiting for table in self._tables)

    def serve(self) -> int:
        """Looks once at every table and carries a batch of each that has rows; gives the number of rows."""
        now, carried = time.monotonic(), 0
        if now >= self._whole_at:
            self._whole_at = now + _WHOLE_EVERY_S
            for table in self._tables:
                table.forget()
        for place, table in enumerate(self._tables):
            there_are, self.seats = table.look()
            if there_are:
                ours, others = _divided(self._session.seat, self.seats)
                rows = self._batch(place, table, ours)
                if not rows and others and now >= self._beyond_at:
                    self._beyond_at = now + _BEYOND_EVERY_S
                    rows = self._batch(place, table, others)
                carried += rows
        self._warn_if_held_up(now)
        return carried

    def _warn_if_held_up(self, now: float) -> None:
        if not self.is_held_up:
            self._warn_at = now + _WARN_AFTER_S
        elif now >= self._warn_at:
            self._warn_at = now + _WARN_AFTER_S
            _log.warning("rows wait for transactions that write to the outbox and stay open", after_s=_WARN_AFTER_S)

    def _batch(self, place: int, table: Claims, buckets: Sequence[int]) -> int:
        connection, began = self._session.connection, time.monotonic()
        connection.execute("begin")
        rows = table.claim(buckets)
        if not rows:
            connection.execute("rollback")
            table.done()
            return 0
        self._at_step(Step.CLAIMED)
        self._publisher.begin()
        self._send(place, table, rows)
        self._sender.settle()
        held = self._states.held
        published = [row for row in rows if (row.number, place) not in held]
        transaction = table.publish([row.number for row in published])
        for entry in self._states.failed:
            table.fail(entry)
        self._at_step(Step.BATCH_SENT)
        self._publisher.commit(
            BatchRecord.of(".".join(table.table), transaction, [(row.number, row.row_id) for row in published])
        )
        self._at_step(Step.BATCH_STORED)
        connection.execute("commit")
        self._at_step(Step.STATUS_WRITTEN)
        table.done()
        self._sender.trust()
        self._count(table, rows, published, began)
        return len(rows)

    def _send(self, place: int, table: Claims, rows: Sequence[Row]) -> None:
        send, route = self._sender.send, table.route
        if any(row.letter is not None for row in rows):
            # A topic that was made, or a limit that was raised, just now: that is why somebody tries again.
            self._sender.look_anew()
        for sent, row in enumerate(rows, 1):
            send(route, row.values, row.bytes, (row.number, place))
            if self._suspicion.is_watching:
                # Kafka refuses what it is sent as a whole: one at a time, so that only the guilty one is found guilty.
                self._publisher.flush()
            if row.letter is not None and (row.number, place) not in self._states.held:
                self._metrics.mended_total += 1
                self._publisher.put(Record(self._config.dead_letter_topic, row.letter, None, []))
            if sent % _SERVE_EVERY_ROWS == 0:
                self._publisher.serve()
                self._metrics.beat()

    def _count(self, table: Claims, rows: Sequence[Row], published: Sequence[Row], began: float) -> None:
        metrics = self._metrics
        metrics.rows_total += len(published)
        metrics.bytes_total += sum(row.bytes for row in rows)
        metrics.batches_total += 1
        metrics.commit_seconds_total += time.monotonic() - began
        if (written_us := table.written_us(rows[0])) is not None:
            metrics.latency.observe(max(0.0, time.time() - written_us / 1_000_000))


def _divided(seat: int, seats: Sequence[int]) -> tuple[list[int], list[int]]:
    """(buckets that are this seat's turn, all others): a preference, so that processes seldom meet at a lock."""
    turn = seats.index(seat) if seat in seats else 0
    count = max(1, len(seats))
    ours = [bucket for bucket in range(BUCKETS) if bucket % count == turn]
    return ours, [bucket for bucket in range(BUCKETS) if bucket % count != turn]
