"""The loop that carries: frames in, records out, batches of whole database transactions, confirmations back.

Invariants: a batch ends only between two database transactions, or inside one that is larger than the window's cap, and
then its position record says how many rows of it are published; the slot is confirmed only up to what Kafka has stored;
a position learnt from a keepalive is stored first, and only while nothing is on its way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import InvalidOperation, MalformedStream
from connectors.outbox.messages import MessageRows
from connectors.outbox.metrics import Metrics
from connectors.outbox.outboxes import Outboxes
from connectors.outbox.pacing import Pace
from connectors.outbox.pgoutput import (
    BEGIN,
    COMMIT,
    INSERT,
    KEEPALIVE,
    LOG_DATA,
    LOGICAL_MESSAGE,
    MESSAGE_AT,
    RELATION,
    UPDATE,
    Relation,
    decode,
    read_begin,
    read_commit,
    read_keepalive,
    read_logical_message,
    read_relation,
)
from connectors.outbox.positions import StoredPosition, format_position
from connectors.outbox.publisher import Publisher
from connectors.outbox.rows import VALUES_AT, row_head
from connectors.outbox.sender import Sender, Table
from connectors.outbox.steps import AtStep, Step, pass_by
from connectors.outbox.stream import Stream

_log = structlog.get_logger()

# Every so many rows librdkafka may report and the database hears that we live.
_SERVE_EVERY_ROWS = 1_000
_IDLE_WAIT_S = 0.25
_WARN_EVERY_S = 60.0


class Duty(Protocol):
    """Something that is done between two batches, while none is open."""

    def serve(self, stored: StoredPosition) -> None:
        """Does what is due by now; called often, so it must itself know when."""

    def close(self) -> None:
        """The stream has ended."""


class Carrier:
    """Carries one stream until it breaks or `stop` is set; a new one is made for each stream."""

    def __init__(
        self,
        config: OutboxConfig,
        stream: Stream,
        publisher: Publisher,
        sender: Sender,
        duties: Sequence[Duty],
        metrics: Metrics,
        outboxes: Outboxes,
        at_step: AtStep = pass_by,
    ) -> None:
        self._at_step = at_step
        self._config, self._window, self._metrics, self._outboxes = config, config.window, metrics, outboxes
        self._stream, self._publisher, self._sender, self._duties = stream, publisher, sender, duties
        self._send, self._pace = sender.send_frame, Pace(config.window)
        # How a relation's rows begin; None: it is no outbox.
        self._heads: dict[int, bytes | None] = {}
        # One look finds whose row it is, and that its form is as described.
        self._tables: dict[bytes, Table] = {}
        prefix = config.message_prefix
        self._messages = None if prefix is None else MessageRows(config.routing, prefix)
        self._in_transaction = False
        self._final_position = self._committed_at_us = 0
        self._rows_known = 0
        self._transaction_rows = 0
        self._rows = self._bytes = self._transactions = 0
        self._rows_before = 0
        self._reached = 0
        self._oldest_commit_us = 0
        self._advanced_at = time.monotonic()
        self._warned_at = -_WARN_EVERY_S

    def run(self, stored: StoredPosition, stop: threading.Event) -> StoredPosition:
        """Carries from `stored` on; gives the last stored position when asked to stop. Raises whatever breaks it."""
        self.stored = stored
        self._reached = self._metrics.stored_position = stored.position
        self._metrics.server_position = max(self._metrics.server_position, stored.position)
        # First of all, as a pause for too many waiting rows ends only so.
        self._serve(stored)
        while True:
            # Here and not in a wait: under a steady load there is none.
            self._metrics.beat()
            rows = self._drain()
            if self._in_transaction:
                if stop.is_set():
                    break
                self._stream.confirm(self.stored.position)
                self._stream.wait(_IDLE_WAIT_S)
            elif self._rows:
                self._close_or_wait(rows, stop)
            elif stop.is_set():
                break
            else:
                self._idle()
        self._publisher.abort()
        self._stream.confirm(self.stored.position, at_once=True)
        return self.stored

    def _close_or_wait(self, rows: int, stop: threading.Event) -> None:
        """Closes the batch when it is full, old or nothing more comes; else lets the server send more at once."""
        pace, began = self._pace, time.monotonic()
        is_quiet = pace.is_quiet(rows, time.time() - self._committed_at_us / 1_000_000)
        if not (is_quiet or pace.is_old(began - self._publisher.opened_at) or self._is_full() or stop.is_set()):
            time.sleep(self._window.pause_ms / 1000)
            return
        self._commit(self._reached)
        rest_s = pace.rest_s(time.monotonic() - began)
        self._stream.confirm(self.stored.position)
        self._serve(self.stored)
        if is_quiet:
            time.sleep(rest_s)

    def _serve(self, stored: StoredPosition) -> None:
        for duty in self._duties:
            duty.serve(stored)

    def _idle(self) -> None:
        now = time.monotonic()
        if (
            self._metrics.server_position > self.stored.position
            and now - self._advanced_at > self._config.advance_every_s
        ):
            self._advanced_at = now
            self._commit(self._metrics.server_position)
        self._stream.confirm(self.stored.position)
        self._serve(self.stored)
        self._stream.wait(_IDLE_WAIT_S)

    def _is_full(self) -> bool:
        return self._rows >= self._window.rows_max or self._bytes >= self._window.bytes_max

    def _commit(self, position: int) -> None:
        began, metrics = time.monotonic(), self._metrics
        self._sender.settle()
        stored = self.stored.moved_to(position)
        if self._in_transaction:
            stored = replace(stored, part_of=self._final_position, part_rows=self._transaction_rows)
        self._at_step(Step.BATCH_SENT)
        self._publisher.commit(stored)
        self._at_step(Step.BATCH_STORED)
        # A part that follows a keepalive's position must not store an older one.
        self.stored, metrics.stored_position, self._reached = stored, position, position
        self._sender.trust()
        if self._rows:
            metrics.latency.observe(max(0.0, time.time() - self._oldest_commit_us / 1_000_000))
        metrics.oldest_waiting_us = 0
        metrics.rows_total += self._rows
        metrics.bytes_total += self._bytes
        metrics.transactions_total += self._transactions
        metrics.batches_total += 1
        metrics.commit_seconds_total += time.monotonic() - began
        self._rows = self._rows_before = self._bytes = self._transactions = 0

    def _drain(self) -> int:
        """Sends every row that has come, up to a full batch; gives their number."""
        self._rows_before, tables, row = self._rows, self._tables, self._row
        for frame in self._stream.frames():
            if frame[0] != LOG_DATA or len(frame) <= MESSAGE_AT:
                self._beside(frame)
                continue
            kind = frame[MESSAGE_AT]
            if kind == INSERT and (table := tables.get(frame[MESSAGE_AT:VALUES_AT])) is not None:
                row(table, frame)
            elif kind == COMMIT:
                self._committed(frame)
                if self._is_full():
                    break
            elif kind == BEGIN:
                self._begun(frame)
            else:
                self._other(kind, frame)
        self._metrics.server_position = max(self._metrics.server_position, self._reached)
        return self._rows - self._rows_before

    def _row(self, table: Table, frame: bytes) -> None:
        """The hot path: what `_begins_row` would find needs no call for most rows."""
        is_plain = self._in_transaction and self._publisher.is_open and self._transaction_rows >= self._rows_known
        if is_plain or self._begins_row():
            self._send(table, frame, (self._final_position, self._transaction_rows))
            self._ends_row(len(frame))

    def _begins_row(self) -> bool:
        """Whether the row is to be sent; else a former life has sent it."""
        if not self._in_transaction:
            raise MalformedStream("a row outside of a transaction")
        if self._transaction_rows < self._rows_known:
            self._skip_row()
            return False
        if not self._publisher.is_open:
            self._publisher.begin()
            self._oldest_commit_us = self._metrics.oldest_waiting_us = self._committed_at_us
        return True

    def _ends_row(self, size: int) -> None:
        self._transaction_rows += 1
        self._rows += 1
        self._bytes += size
        if self._rows % _SERVE_EVERY_ROWS == 0:
            self._publisher.serve()
            self._stream.stay_alive()
        if self._rows >= self._window.part_rows_max or self._bytes >= self._window.part_bytes_max:
            self._commit(self._reached)

    def _begun(self, frame: bytes) -> None:
        if self._in_transaction:
            raise MalformedStream("a transaction within another")
        self._in_transaction = True
        begin, known = read_begin(frame, MESSAGE_AT), self.stored.part_of
        if self._reached <= known < begin.final_position:
            raise MalformedStream(
                f"the transaction at {format_position(known)}, of which {self.stored.part_rows} rows are published, "
                f"was not sent again; {format_position(begin.final_position)} came in its place"
            )
        self._final_position, self._committed_at_us = begin.final_position, begin.committed_at_us
        self._transaction_rows = 0
        self._rows_known = self.stored.part_rows if known == begin.final_position else 0

    def _skip_row(self) -> None:
        """A row of a transaction that a former life published a part of: the server sends it whole, in the same order."""
        self._transaction_rows += 1
        if self._transaction_rows % _SERVE_EVERY_ROWS == 0:
            self._stream.stay_alive()

    def _committed(self, frame: bytes) -> None:
        commit = read_commit(frame, MESSAGE_AT)
        if not self._in_transaction or commit.position != self._final_position:
            raise MalformedStream(f"a commit at {format_position(commit.position)} without its begin")
        if self._transaction_rows < self._rows_known:
            raise MalformedStream(
                f"the transaction at {format_position(commit.position)} came with {self._transaction_rows} rows, "
                f"and {self._rows_known} of it are published"
            )
        self._in_transaction, self._reached = False, commit.end_position
        if self._transaction_rows:
            self._transactions += 1

    def _beside(self, frame: bytes) -> None:
        """Keepalives: where the server is, and whether it wants to hear from us."""
        if frame[0] != KEEPALIVE:
            raise MalformedStream(f"a frame of unknown kind: {frame[:40].hex()}")
        keepalive = read_keepalive(frame)
        self._metrics.server_position = max(self._metrics.server_position, keepalive.position)
        if keepalive.reply_requested:
            self._stream.confirm(self.stored.position, at_once=True)

    def _other(self, kind: int, frame: bytes) -> None:
        if kind == RELATION:
            self._described(read_relation(frame, MESSAGE_AT))
            return
        if kind == LOGICAL_MESSAGE:
            self._message(frame)
            return
        decode(frame, MESSAGE_AT)
        oid = int.from_bytes(frame[MESSAGE_AT + 1 : MESSAGE_AT + 5], "big")
        if kind == INSERT:
            self._demand_no_outbox(oid)
        elif kind == UPDATE and self._heads.get(oid) is not None:
            self._updated()

    def _described(self, relation: Relation) -> None:
        """Perhaps anew: then rows of the old form are none any more."""
        if (known := self._heads.get(relation.oid)) is not None:
            del self._tables[known]
        route, head = self._outboxes.route(relation), row_head(relation)
        self._heads[relation.oid] = None if route is None else head
        if route is not None:
            self._tables[head] = Table.of(route)

    def _demand_no_outbox(self, oid: int) -> None:
        if oid not in self._heads:
            raise MalformedStream(f"a row of relation {oid}, which was not described")
        if self._heads[oid] is not None:
            raise MalformedStream(f"a row of relation {oid} that is not of the form that was described")

    def _message(self, frame: bytes) -> None:
        """A row that has no table; its place among the transaction's rows is the one in which it was written."""
        message = read_logical_message(frame, MESSAGE_AT)
        if self._messages is None or message.prefix != self._config.message_prefix:
            return
        if not message.transactional:
            at = format_position(message.position)
            self._not_taken(f"a message of prefix {message.prefix} at {at} is not of its transaction")
        elif self._begins_row():
            self._messages.send(self._sender, message.content, (self._final_position, self._transaction_rows))
            self._ends_row(len(frame))

    def _updated(self) -> None:
        self._not_taken(f"a row of {self._config.table} was updated before {format_position(self._final_position)}")

    def _not_taken(self, what: str) -> None:
        self._metrics.skipped_operations_total += 1
        if self._config.routing.invalid_operation == "fatal":
            raise InvalidOperation(what)
        if time.monotonic() - self._warned_at > _WARN_EVERY_S:
            self._warned_at = time.monotonic()
            _log.warning("not published", what=what, since_start=self._metrics.skipped_operations_total)
