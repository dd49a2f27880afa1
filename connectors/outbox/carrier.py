"""The loop that carries: frames in, records out, batches of whole database transactions, confirmations back.

Invariants: a batch ends only between two database transactions, or inside one that is larger than the window's cap, and
then its position record says how many rows of it are published; the slot is confirmed only up to what Kafka has stored;
a position learnt from a keepalive is stored first, and only while nothing is on its way.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from connectors.outbox.beside.duty import Duty
from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import MalformedStream
from connectors.outbox.invalid import InvalidOperations
from connectors.outbox.messages import MessageRows
from connectors.outbox.metrics import Metrics
from connectors.outbox.outboxes import Outboxes
from connectors.outbox.pacing import Pace
from connectors.outbox.pgoutput import (
    BEGIN,
    COMMIT,
    EPOCH_US,
    INSERT,
    KEEPALIVE,
    LOG_DATA,
    LOGICAL_MESSAGE,
    MESSAGE_AT,
    RELATION,
    UPDATE,
    decode,
    read_keepalive,
    read_logical_message,
    read_relation,
    unpack_begin,
    unpack_commit,
)
from connectors.outbox.positions import StoredPosition, format_position
from connectors.outbox.publisher import Publisher
from connectors.outbox.relations import Relations
from connectors.outbox.rows import VALUES_AT
from connectors.outbox.sender import Sender
from connectors.outbox.steps import AtStep, Step, pass_by
from connectors.outbox.stream import Stream

# Every so many rows librdkafka may report and the database hears that we live.
_SERVE_EVERY_ROWS = 1_000
_IDLE_WAIT_S = 0.25


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
        self._config, self._window, self._metrics = config, config.window, metrics
        self._stream, self._publisher, self._sender, self._duties = stream, publisher, sender, duties
        self._send, self._pace = sender.send_frame, Pace(config.window)
        self._relations, self._invalid = Relations(outboxes), InvalidOperations(config, metrics)
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
        """Sends every row that has come, up to a full batch; gives their number. The hot path."""
        self._rows_before, tables, publisher = self._rows, self._relations.tables, self._publisher
        for frame in self._stream.frames():
            if frame[0] != LOG_DATA or len(frame) <= MESSAGE_AT:
                self._beside(frame)
                continue
            kind = frame[MESSAGE_AT]
            if kind == INSERT and (table := tables.get(frame[MESSAGE_AT:VALUES_AT])) is not None:
                # What `_begins_row` would find needs no call for most rows.
                is_plain = self._in_transaction and publisher.is_open and self._transaction_rows >= self._rows_known
                if is_plain or self._begins_row():
                    self._send(table, frame, (self._final_position, self._transaction_rows))
                    self._ends_row(len(frame))
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
        try:
            final, committed_at = unpack_begin(frame)
        except struct.error:
            raise MalformedStream(f"a begin of {len(frame)} bytes") from None
        known = self.stored.part_of
        if self._reached <= known < final:
            raise MalformedStream(
                f"the transaction at {format_position(known)}, of which {self.stored.part_rows} rows are published, "
                f"was not sent again; {format_position(final)} came in its place"
            )
        self._final_position, self._committed_at_us, self._transaction_rows = final, committed_at + EPOCH_US, 0
        self._rows_known = self.stored.part_rows if known == final else 0

    def _skip_row(self) -> None:
        """A row of a transaction that a former life published a part of: the server sends it whole, in the same order."""
        self._transaction_rows += 1
        if self._transaction_rows % _SERVE_EVERY_ROWS == 0:
            self._stream.stay_alive()

    def _committed(self, frame: bytes) -> None:
        try:
            position, end = unpack_commit(frame)
        except struct.error:
            raise MalformedStream(f"a commit of {len(frame)} bytes") from None
        if end <= position:
            raise MalformedStream(f"a commit at {format_position(position)} that ends before it begins")
        if not self._in_transaction or position != self._final_position:
            raise MalformedStream(f"a commit at {format_position(position)} without its begin")
        if self._transaction_rows < self._rows_known:
            raise MalformedStream(
                f"the transaction at {format_position(position)} came with {self._transaction_rows} rows, "
                f"and {self._rows_known} of it are published"
            )
        self._in_transaction, self._reached = False, end
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
            self._relations.describe(read_relation(frame, MESSAGE_AT))
            return
        if kind == LOGICAL_MESSAGE:
            self._message(frame)
            return
        decode(frame, MESSAGE_AT)
        oid = int.from_bytes(frame[MESSAGE_AT + 1 : MESSAGE_AT + 5], "big")
        if kind == INSERT:
            self._relations.demand_no_outbox(oid)
        elif kind == UPDATE and self._relations.is_outbox(oid):
            before = format_position(self._final_position)
            self._invalid.pass_over(f"a row of {self._config.table} was updated before {before}")

    def _message(self, frame: bytes) -> None:
        """A row that has no table; its place among the transaction's rows is the one in which it was written."""
        message = read_logical_message(frame, MESSAGE_AT)
        if self._messages is None or message.prefix != self._config.message_prefix:
            return
        if not message.transactional:
            at = format_position(message.position)
            self._invalid.pass_over(f"a message of prefix {message.prefix} at {at} is not of its transaction")
        elif self._begins_row():
            self._messages.send(self._sender, message.content, (self._final_position, self._transaction_rows))
            self._ends_row(len(frame))
