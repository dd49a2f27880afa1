"""The replication stream: START_REPLICATION over psycopg 3's libpq calls, frames in, confirmations out."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import structlog
from psycopg import sql

from connectors.outbox.config import OutboxConfig
from connectors.outbox.database import connect
from connectors.outbox.errors import DatabaseLost
from connectors.outbox.metrics import Metrics
from connectors.outbox.pgoutput import status_update
from connectors.outbox.positions import format_position, parse_position

_log = structlog.get_logger()

# The server ends a connection that is silent for wal_sender_timeout (60 s); confirming more often than
# once a second only costs it work. Rarer would cost us time: since PostgreSQL 16 a walsender misses what is written
# between its last look and its sleep (WalSndWaitForWal, WalSndWait), and looks again when it hears from us.
_CONFIRM_EVERY_S = 1.0
_ALIVE_EVERY_S = 5.0
# After so long without a word the server is asked for one, and a question that stays open so long is told of.
_ASK_AFTER_S = 5.0
_TELL_AFTER_S = 15.0
_FAILOVER_SINCE = 170_000
# libpq reads as much at once as its buffer takes: 16 KB, unless one message was larger; it never shrinks again.
_READ_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class System:
    """IDENTIFY_SYSTEM: which cluster this is, and which of its histories."""

    system: str
    timeline: int


class Stream:
    """One replication connection. Raises DatabaseLost or psycopg's OperationalError when the server is gone."""

    def __init__(self, config: OutboxConfig, metrics: Metrics) -> None:
        self._config, self._metrics = config, metrics
        self._connection = connect(config, replication=True)
        self._poller = select.poll()
        self._streaming = False
        self._sent_at = self._asked_at = self._told_at = 0.0
        self._heard_at = time.monotonic()
        self._stored = 0

    def close(self) -> None:
        """Ends the connection; the slot is free when the server has noticed."""
        self._streaming = False
        self._connection.close()

    def identify(self) -> System:
        row = self._connection.execute("IDENTIFY_SYSTEM").fetchone()
        if row is None:
            raise DatabaseLost("no answer to IDENTIFY_SYSTEM")
        return System(str(row[0]), int(row[1]))

    def timeline_history(self, timeline: int) -> str:
        """The server's history file of its timeline; "" for the first, which has none."""
        if timeline == 1:
            return ""
        row = self._connection.execute(sql.SQL("TIMELINE_HISTORY {}").format(sql.SQL(str(timeline)))).fetchone()
        content = b"" if row is None else row[1]
        return content if isinstance(content, str) else bytes(content).decode()

    def create_slot(self) -> tuple[int, str]:
        """Makes the slot; (where it begins, name of a snapshot that shows exactly what was committed before).

        From PostgreSQL 17 on it is a failover slot: a standby with `sync_replication_slots` has it when it is promoted.
        """
        newer = self._connection.info.server_version >= _FAILOVER_SINCE
        options = "(SNAPSHOT 'export', FAILOVER true)" if newer else "EXPORT_SNAPSHOT"
        row = self._connection.execute(
            sql.SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput ").format(sql.Identifier(self._config.slot))
            + sql.SQL(options)
        ).fetchone()
        if row is None:
            raise DatabaseLost("no answer to CREATE_REPLICATION_SLOT")
        return parse_position(row[1]), str(row[2])

    def drop_slot(self) -> None:
        """Waits for a reader to let go of it."""
        self._connection.execute(sql.SQL("DROP_REPLICATION_SLOT {} WAIT").format(sql.Identifier(self._config.slot)))

    def start(self, position: int) -> None:
        """Streams every transaction whose commit record begins at `position` or later."""
        self._connection.execute(sql.SQL("select repeat(' ', {})").format(sql.Literal(_READ_BYTES - 1024)))
        publications = sql.Identifier(self._config.publication).as_string(self._connection).replace("'", "''")
        messages = "" if self._config.message_prefix is None else ", messages 'true'"
        self._connection.execute(
            sql.SQL("START_REPLICATION SLOT {} LOGICAL {} (proto_version '1', publication_names {}{})").format(
                sql.Identifier(self._config.slot),
                sql.SQL(format_position(position)),
                sql.SQL(f"'{publications}'"),
                sql.SQL(messages),
            )
        )
        self._stored, self._streaming = position, True
        self._poller.register(self._connection.pgconn.socket, select.POLLIN)
        self.confirm(position, at_once=True)

    def frames(self) -> Iterator[bytes]:
        """Every frame that the server has sent by now; ends when the socket is empty. May be left in the middle."""
        link = self._connection.pgconn
        get, consume, poll = link.get_copy_data, link.consume_input, self._poller.poll
        while True:
            size, frame = get(1)
            if size > 0:
                # `bytes(frame)` takes three times as long.
                yield frame.tobytes()
            elif size == 0:
                # One call takes what libpq's buffer holds: read on until the socket is empty.
                if not poll(0):
                    return
                consume()
                self._heard_at = time.monotonic()
            else:
                result = link.get_result()
                message = result.error_message.decode(errors="replace").strip() if result is not None else ""
                raise DatabaseLost(f"the stream ended: {message}")

    def wait(self, timeout_s: float) -> None:
        """Returns when there is something to read, or after the time. Raises DatabaseLost when an answer stays out."""
        if not self._poller.poll(timeout_s * 1000) and self._asked_at > self._heard_at:
            self._mind_silence(time.monotonic() - self._asked_at)

    def confirm(self, stored: int, at_once: bool = False) -> None:
        """Tells the server what is stored in Kafka: once a second, unless it asked or we are leaving."""
        self._stored = stored
        if at_once or self._since() > _CONFIRM_EVERY_S:
            self._send(asks=time.monotonic() - self._heard_at > _ASK_AFTER_S)

    def stay_alive(self) -> None:
        """Called while Kafka makes us wait: the position confirmed stays that which was stored."""
        self._metrics.beat()
        if self._streaming and self._since() > _ALIVE_EVERY_S:
            try:
                self._send()
            except psycopg.OperationalError:
                # The next read says so; what waits for Kafka must first be settled with Kafka.
                self._streaming = False

    def _since(self) -> float:
        return time.monotonic() - self._sent_at

    def _mind_silence(self, silent_s: float) -> None:
        """A server that is busy answers all the same, but before PostgreSQL 16 not while a large transaction is filtered."""
        bound_s = self._config.answer_within_s
        if silent_s > bound_s:
            raise DatabaseLost(f"the server has not answered for {bound_s:.0f} s")
        if silent_s > _TELL_AFTER_S and self._told_at < self._heard_at:
            self._told_at = time.monotonic()
            _log.warning("the database does not answer", for_s=round(silent_s, 1), given_up_after_s=bound_s)

    def _send(self, asks: bool = False) -> None:
        self._sent_at = time.monotonic()
        if asks and self._asked_at < self._heard_at:
            self._asked_at = self._sent_at
        link = self._connection.pgconn
        link.put_copy_data(status_update(self._stored, time.time(), asks))
        link.flush()
        self._metrics.confirmed_position = self._stored
