"""One polling connector from its start to its end: opens, carries, and opens again after every fault that passes.

Steps of an opening: 1. a seat is taken; 2. the tables are looked at; 3. the seat's producer takes over, which fences the
one before and settles what it left open; 4. the seat's last batch is read, and its rows are marked if the database's
transaction did not come through.
"""

from __future__ import annotations

import threading

import psycopg
import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import (
    Aborted,
    BadOption,
    ClaimLost,
    DatabaseLost,
    Fenced,
    NotPermitted,
    OutboxError,
    ProducerLost,
    Stopped,
    WaitingFull,
    first_line,
)
from connectors.outbox.kafka_log import kafka_logger
from connectors.outbox.metrics import Metrics
from connectors.outbox.outboxes import Outboxes
from connectors.outbox.polling.carrier import Carrier
from connectors.outbox.polling.claims import Claims
from connectors.outbox.polling.columns import check_columns
from connectors.outbox.polling.options import Polling
from connectors.outbox.polling.orphans import Orphans
from connectors.outbox.polling.recovery import recover
from connectors.outbox.polling.session import SEATS_MAX, SeatTaken, Session, seat_config
from connectors.outbox.polling.states import RowStates
from connectors.outbox.polling.watching import Watch
from connectors.outbox.publisher import Publisher
from connectors.outbox.retries import Retries, abort_last_batch
from connectors.outbox.sender import Sender, Suspicion
from connectors.outbox.steps import AtStep, Step, pass_by
from connectors.outbox.topics import Topics, admin_settings
from connectors.outbox.waiting.keeper import Waiting

_log = structlog.get_logger()

_BACKOFF_FIRST_S = 0.2
# While rows wait for an open transaction, which mostly ends soon.
_HELD_UP_REST_S = 0.002
_ANSWER_WITHIN_S = 10.0


class PollingConnector:
    """Runs in the caller's thread until `stop` is set or something does not pass."""

    def __init__(
        self, config: OutboxConfig, stop: threading.Event, metrics: Metrics, at_step: AtStep = pass_by
    ) -> None:
        if config.polling is None:
            raise BadOption("the options are not those of polling")
        self._config, self._polling, self._stop, self._metrics = config, config.polling, stop, metrics
        self._at_step = at_step
        self._admin = AdminClient(admin_settings(config), logger=kafka_logger())
        self._topics, self._suspicion = Topics(self._admin, config), Suspicion()
        self._publisher: Publisher | None = None
        self._before: SeatTaken | None = None
        self._retries = Retries(self._admin, stop, metrics, _BACKOFF_FIRST_S)

    def run(self) -> None:
        """Returns when asked to stop. Raises an OutboxError that has an exit code."""
        try:
            self._run_until_stopped()
        except OutboxError:
            abort_last_batch(self._publisher)
            raise

    def _run_until_stopped(self) -> None:
        while not self._stop.is_set():
            try:
                self._carry_once()
            except psycopg.errors.InsufficientPrivilege as error:
                raise NotPermitted(
                    f"{first_line(error)}; the role needs SELECT and UPDATE on {self._config.table}"
                ) from None
            except (DatabaseLost, psycopg.Error) as error:
                self._metrics.reconnects_total += 1
                self._retries.rest("database lost", error)
            except (Aborted, ClaimLost, WaitingFull) as error:
                # Which row it was, if it was one, is found out by watching the next try.
                self._suspicion.is_watching = self._suspicion.is_watching or isinstance(error, Aborted)
                self._topics.forget()
                self._metrics.aborts_total += 1
                self._retries.rest("batch aborted", error)
            except (ProducerLost, Fenced) as error:
                self._lose_producer(error)
            except Stopped as stopped:
                _log.warning("ended without settling the open batch", reason=str(stopped))
                return
            finally:
                self._metrics.ready = False

    def _carry_once(self) -> None:
        self._metrics.state = "CONNECTING"
        if self._publisher is not None:
            # First of all: readers of the topics wait for as long as a batch stays open.
            self._publisher.abort()
        session = self._open_session()
        try:
            self._carry(session)
        finally:
            session.close()
        self._metrics.state = "STOPPED"

    def _open_session(self) -> Session:
        session = Session(self._config, self._before, self._stop)
        if self._before is not None and session.seat != self._before.seat:
            self._publisher = None
        self._before = session.taken
        return session

    def _carry(self, session: Session) -> None:
        tables = self._tables(session.connection, self._polling)
        config, metrics = seat_config(self._config, session.seat), self._metrics
        publisher = self._publisher or self._take_over(config)
        recover(config, session.connection, tables)
        states = RowStates(config, publisher, metrics, Waiting())
        sender = Sender(config, states, publisher, self._topics, self._suspicion)
        carrier = Carrier(config, session, tables, publisher, sender, self._suspicion, states, metrics, self._at_step)
        orphans = Orphans(self._config, session, tables, metrics, self._stop, self._used_seats())
        watch = Watch(tables, metrics)
        metrics.state, metrics.ready = "POLLING", True
        self._at_step(Step.STREAMING)
        _log.info("polling", seat=session.seat, tables=[".".join(name) for name in self._config.tables])
        longest_s = rest_s = self._polling.rest_ms / 1000
        while not self._stop.is_set():
            metrics.beat()
            self._topics.refresh_if_old()
            if carrier.serve():
                rest_s = 0.0
                self._retries.went_well()
            elif carrier.is_held_up:
                rest_s = min(longest_s, max(_HELD_UP_REST_S, rest_s * 2))
            else:
                rest_s = longest_s
            orphans.serve(carrier.seats)
            watch.serve()
            self._stop.wait(rest_s)

    def _tables(self, database: psycopg.Connection, polling: Polling) -> list[Claims]:
        outboxes = Outboxes.describe(database, self._config)
        for table in self._config.tables:
            check_columns(database, table, polling)
        return [Claims(database, self._config, polling, outboxes, table) for table in self._config.tables]

    def _take_over(self, config: OutboxConfig) -> Publisher:
        self._metrics.state = "TAKING_OVER"
        self._publisher = publisher = Publisher(config, self._metrics.beat, self._stop.is_set)
        publisher.take_over()
        try:
            self._topics.ensure(config.positions_topic, 1, {"cleanup.policy": "compact"})
        except KafkaException as error:
            raise ProducerLost(f"topic {config.positions_topic}: {error.args[0].str()}") from None
        self._at_step(Step.TAKEN_OVER)
        return publisher

    def _used_seats(self) -> set[int]:
        try:
            known = self._admin.list_topics(timeout=_ANSWER_WITHIN_S).topics
        except KafkaException as error:
            raise ProducerLost(f"topics: {error.args[0].str()}") from None
        return {seat for seat in range(SEATS_MAX) if seat_config(self._config, seat).positions_topic in known}

    def _lose_producer(self, error: OutboxError) -> None:
        """Fenced is no end here: seats are handed out by the database, so two processes cannot go on fencing each other."""
        self._publisher = None
        self._topics.forget()
        self._retries.rest_without_producer(error)
