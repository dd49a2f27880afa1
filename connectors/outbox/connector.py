"""One connector from its start to its end: opens, carries, and opens again after every fault that passes.

Steps of an opening: 1. the database is looked at (a wrong set-up must not fence a good process), while Kafka is connected
to; 2. the producer takes over, which fences the predecessor; 3. the stored position is read; 4. position, slot and server
are judged; 5. the slot is waited for; 6. the stream starts at the stored position.
"""

from __future__ import annotations

import threading
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connectors.outbox.ahead import Ahead
from connectors.outbox.beside.cleaner import Cleaner
from connectors.outbox.beside.duty import Duty
from connectors.outbox.beside.status import StatusTables
from connectors.outbox.carrier import Carrier
from connectors.outbox.config import OutboxConfig
from connectors.outbox.database import (
    Slot,
    connect,
    demand_logical,
    demand_messages,
    find_slot,
    wait_until_free,
)
from connectors.outbox.errors import (
    Aborted,
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
from connectors.outbox.positions import StoredPosition, format_position
from connectors.outbox.publication import ensure_publication
from connectors.outbox.publisher import Publisher
from connectors.outbox.republishing.republisher import Republisher
from connectors.outbox.retries import Retries, abort_last_batch
from connectors.outbox.sender import Sender, Suspicion
from connectors.outbox.snapshot import send_snapshot
from connectors.outbox.start import FirstTime, Found, judge
from connectors.outbox.steps import AtStep, Step, pass_by
from connectors.outbox.stored import read_stored_position
from connectors.outbox.stream import Stream, System
from connectors.outbox.topics import Topics, admin_settings
from connectors.outbox.waiting.keeper import Keeper, Waiting, waiting_topic_settings
from connectors.outbox.waiting.listener import Listener
from connectors.outbox.waiting.mending import Mender
from connectors.outbox.waiting.topic import read_waiting

_log = structlog.get_logger()

_BACKOFF_FIRST_S = 0.05


class Connector:
    """Runs in the caller's thread until `stop` is set or something does not pass."""

    def __init__(
        self, config: OutboxConfig, stop: threading.Event, metrics: Metrics, at_step: AtStep = pass_by
    ) -> None:
        self._at_step = at_step
        self._config, self._stop, self._metrics = config, stop, metrics
        self._admin = AdminClient(admin_settings(config), logger=kafka_logger())
        self._topics = Topics(self._admin, config)
        self._suspicion, self._waiting = Suspicion(), Waiting()
        self._publisher: Publisher | None = None
        self._ahead: Ahead | None = None
        self._stream: Stream | None = None
        self._duties: Sequence[Duty] = ()
        self._stored: StoredPosition | None = None
        self._forget, self._resume = config.forget_position, config.resume
        self._has_run = False
        self._retries = Retries(self._admin, stop, metrics, _BACKOFF_FIRST_S)

    def run(self) -> None:
        """Returns when asked to stop. Raises an OutboxError that has an exit code."""
        try:
            self._run_until_stopped()
        except Fenced:
            raise
        except OutboxError:
            abort_last_batch(self._publisher)
            raise

    def _run_until_stopped(self) -> None:
        while not self._stop.is_set():
            try:
                self._carry_once()
            except (DatabaseLost, psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._metrics.reconnects_total += 1
                # A walsender ends for many reasons, and most of them are over at once.
                self._retries.rest("database lost", error, first_at_once=True)
            except Aborted as error:
                # Which row it was, if it was one, is found out by watching the next try.
                self._suspicion.is_watching = True
                self._topics.forget()
                self._metrics.aborts_total += 1
                self._retries.rest("batch aborted", error)
            except WaitingFull as error:
                self._metrics.waiting_full = True
                self._topics.forget()
                self._retries.rest("paused", error)
            except ProducerLost as error:
                self._lose_producer(error)
            except psycopg.errors.InsufficientPrivilege as error:
                raise NotPermitted(
                    f"{first_line(error)}; the role needs REPLICATION, and SELECT on {self._config.table}"
                ) from None
            except Stopped as stopped:
                _log.warning("ended without settling the open batch", reason=str(stopped))
                return
            finally:
                self._metrics.ready = False

    def _carry_once(self) -> None:
        try:
            self._metrics.state = "CONNECTING"
            if self._publisher is not None:
                # First of all: readers of the topics wait for as long as a batch stays open.
                self._publisher.abort()
            elif self._ahead is None:
                self._ahead = self._ask_ahead()
            else:
                self._ahead.serve()
            self._stream = stream = Stream(self._config, self._metrics)
            carrier, stored = self._open(stream)
            stream.start(stored.position)
            self._metrics.state, self._metrics.ready = "STREAMING", True
            self._at_step(Step.STREAMING)
            _log.info("streaming", position=format_position(stored.position), slot=self._config.slot)
            try:
                carrier.run(stored, self._stop)
            finally:
                for duty in self._duties:
                    duty.close()
                if carrier.stored != stored:
                    self._retries.went_well()
                self._stored = carrier.stored
        finally:
            self._metrics.ready = False
            if self._stream is not None:
                self._stream.close()
                self._stream = None
        self._metrics.state = "STOPPED"

    def _open(self, stream: Stream) -> tuple[Carrier, StoredPosition]:
        config, server = self._config, stream.identify()
        with connect(config) as database:
            demand_logical(database)
            if config.message_prefix is not None:
                demand_messages(database)
            outboxes = Outboxes.describe(database, config)
            ensure_publication(database, config, outboxes)
            publisher = self._publisher
            if publisher is None:
                if self._has_run:
                    # Ours is fenced or gone; if the slot is held now, a newer process holds it, and must not be fenced.
                    wait_until_free(database, config, self._asked_to_stop, may_end=False)
                publisher = self._take_over(self._ahead or self._ask_ahead())
            elif self._stored is not None:
                # Proves that nobody has taken over meanwhile: else the stored position in memory is old, and ending
                # the slot's reader would start a war with the process that fenced us.
                publisher.commit(self._stored)
            found = Found(
                server, stream.timeline_history(server.timeline), find_slot(database, config.slot), self._stored
            )
            start = judge(config, found, self._forget, self._resume)
            wait_until_free(database, config, self._asked_to_stop, may_end=True)
        keeper = Keeper(config, publisher, self._metrics, self._waiting)
        sender = Sender(config, keeper, publisher, self._topics, self._suspicion)
        self._duties = (
            Listener(config, self._admin, self._waiting),
            Mender(config, publisher, sender, keeper, self._goes_on),
            Republisher(config, outboxes, sender, publisher, self._waiting, self._metrics, self._goes_on),
            *([StatusTables(config, keeper.blocked, self._metrics)] if config.tables else []),
            Cleaner(config, outboxes, keeper.blocked, self._metrics),
        )
        if isinstance(start, FirstTime):
            stored = self._begin_anew(stream, server, sender, keeper, outboxes, found.slot)
        else:
            stored = start.stored
            if found.stored is not None and found.stored.timeline != stored.timeline:
                _log.warning(
                    "the server is on a new timeline, which holds all that is stored", timeline=stored.timeline
                )
        # The way out is for what the start found, not for what happens later.
        self._stored, self._forget, self._resume, self._has_run = stored, False, None, True
        return Carrier(config, stream, publisher, sender, self._duties, self._metrics, outboxes, self._at_step), stored

    def _ask_ahead(self) -> Ahead:
        return Ahead(Publisher(self._config, self._while_waiting, self._stop.is_set), self._admin)

    def _take_over(self, ahead: Ahead) -> Publisher:
        self._metrics.state, self._ahead = "TAKING_OVER", None
        self._publisher = publisher = ahead.take_over()
        known = ahead.topics()
        # Two topics that have nothing to do with each other, at a time when every wait keeps rows from going out.
        with ThreadPoolExecutor(1, "waiting") as beside:
            waiting = beside.submit(self._load_waiting, known) if self._config.dead_letter is not None else None
            self._ensure(known, self._config.positions_topic, {"cleanup.policy": "compact"})
            self._stored = read_stored_position(self._config)
            if waiting is not None:
                waiting.result()
        self._at_step(Step.TAKEN_OVER)
        _log.info("taken over", stored=None if self._stored is None else format_position(self._stored.position))
        return publisher

    def _ensure(self, known: Container[str], topic: str, settings: dict[str, str]) -> None:
        if topic in known:
            return
        try:
            self._topics.ensure(topic, 1, settings)
        except KafkaException as error:
            raise ProducerLost(f"topic {topic}: {error.args[0].str()}") from None

    def _load_waiting(self, known: Container[str]) -> None:
        self._ensure(known, self._config.waiting_topic, waiting_topic_settings(self._config))
        found = read_waiting(self._config)
        self._waiting.blocked.load(found.entries.values())
        self._waiting.requests, self._waiting.republish, self._waiting.end = found.requests, found.republish, found.end

    def _begin_anew(
        self, stream: Stream, server: System, sender: Sender, keeper: Keeper, outboxes: Outboxes, slot: Slot | None
    ) -> StoredPosition:
        """First start. 1. announce; 2. make the slot; 3. the rows before it and its position, in one batch."""
        config, publisher = self._config, self._publisher
        if publisher is None:
            raise ProducerLost("no producer")
        self._metrics.state = "SNAPSHOT"
        making = StoredPosition(server.system, server.timeline, config.slot, 0, making=True)
        publisher.commit(making)
        self._stored, self._forget = making, False
        self._at_step(Step.ANNOUNCED)
        if slot is not None:
            stream.drop_slot()
        position, snapshot = stream.create_slot()
        self._at_step(Step.SLOT_MADE)
        publisher.begin()
        keeper.forget()
        sent = 0
        if config.snapshot == "initial":

            def after_each_fetch() -> None:
                publisher.serve()
                if not self._goes_on():
                    raise Stopped("asked to end during the first copy")

            sent = send_snapshot(config, snapshot, sender, outboxes, after_each_fetch)
        sender.settle()
        self._at_step(Step.ROWS_BEFORE_SENT)
        stored = StoredPosition(server.system, server.timeline, config.slot, position)
        publisher.commit(stored)
        self._at_step(Step.FIRST_STORED)
        sender.trust()
        self._metrics.rows_total += sent
        _log.info("slot made", slot=config.slot, position=format_position(position), rows_before=sent)
        return stored

    def _asked_to_stop(self) -> bool:
        self._metrics.beat()
        return self._stop.is_set()

    def _while_waiting(self) -> None:
        if self._stream is not None:
            self._stream.stay_alive()

    def _goes_on(self) -> bool:
        self._while_waiting()
        return not self._stop.is_set()

    def _lose_producer(self, error: OutboxError) -> None:
        self._publisher = self._ahead = None
        self._topics.forget()
        self._retries.rest_without_producer(error)
