"""The Kafka side: a batch is one Kafka transaction that holds records and the position they reach.

Order of a batch: 1. begin, 2. records, 3. the position record, 4. commit; only what `commit` has returned for may be
confirmed to the database. Every wait goes through `while_waiting`, which keeps the database's connection alive.
Source: KIP-98, KIP-447, KIP-618; librdkafka's manual, "Transactional producer".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import Aborted, Fenced, ProducerLost, Stopped
from connectors.outbox.kafka_log import kafka_logger
from connectors.outbox.plans import Parts
from connectors.outbox.refused import Headers
from connectors.outbox.routing import Record, Unroutable

_log = structlog.get_logger()

# One call's patience; the call is made again, so it only says how often the database hears from us meanwhile.
_CALL_S = 5.0
# After this long a commit or abort is given up when the process was asked to end; the next start settles it.
_STOPPED_AFTER_S = 10.0
_QUEUE_FULL_WAIT_S = 0.02
# Memory: what waits in librdkafka's queue. Both bounds count; a full queue is the back pressure.
_QUEUE_KILOBYTES = 16 * 1024
_QUEUE_RECORDS = 100_000
# Refusals that stay for this record however often it is sent.
ROW_ERRORS = frozenset(
    (
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_RECORD,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    )
)
_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)


def producer_settings(config: OutboxConfig, on_error: Callable[[KafkaError], None]) -> dict[str, Any]:
    """librdkafka's settings; the user's come last, but for those that the promises rest on."""
    return {
        "retry.backoff.ms": 2,
        "retry.backoff.max.ms": 10,
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 500,
        # With "rebootstrap" librdkafka 2.16 never finds the transaction coordinator again once all brokers were away.
        "metadata.recovery.strategy": "none",
        "topic.metadata.refresh.fast.interval.ms": 20,
        # A commit waits for no linger, so it costs no latency: records leave with the commit, or when a partition has enough
        # of them. A full queue waits for it where the queue is shared by many partitions.
        "linger.ms": 50,
        "batch.size": 262_144,
        "queue.buffering.max.kbytes": max(_QUEUE_KILOBYTES, 2 * config.record_bytes_max // 1024),
        "queue.buffering.max.messages": _QUEUE_RECORDS,
        "socket.nagle.disable": True,
        "log_level": 2,
        **config.kafka,
        "bootstrap.servers": config.bootstrap,
        "transactional.id": config.transactional_id,
        "transaction.timeout.ms": config.transaction_timeout_ms,
        # Topics are judged by their own limits before a record is handed over.
        "message.max.bytes": config.record_bytes_max + 1_024,
        # Java's default, so that a key's partition is that of every other producer.
        "partitioner": "murmur2_random",
        "error_cb": on_error,
    }


class Reached(Protocol):
    """How far a batch reaches: a position in the log, or the rows themselves."""

    def to_json(self, recorded_at_s: float) -> bytes:
        """The record's value; `recorded_at_s` (Unix seconds) is for people."""


class Publisher:
    """One transactional producer. Making it fences every older process of the same name, once `take_over` returns."""

    def __init__(self, config: OutboxConfig, while_waiting: Callable[[], None], stop: Callable[[], bool]) -> None:
        self._config, self._while_waiting, self._stop = config, while_waiting, stop
        self._producer = Producer(producer_settings(config, self._heard), logger=kafka_logger())
        self._produce = self._producer.produce
        self._has_connected = False
        self.is_open = False
        self.opened_at = 0.0

    def connect(self) -> None:
        """Waits a while for a connection, unless there was one; fences nobody."""
        if self._has_connected:
            return
        self._has_connected = True
        try:
            # Without one the coordinator may be asked again only half a second later.
            self._producer.list_topics("__consumer_offsets", _CALL_S)
        except KafkaException as error:
            _log.warning("kafka does not answer", error=error.args[0].str())

    def take_over(self) -> None:
        """Fences the predecessor and finishes what it left open. Raises Fenced, ProducerLost, Stopped."""
        self.connect()
        self._until_done(lambda: self._producer.init_transactions(2 * _CALL_S), "init_transactions")

    def begin(self) -> None:
        """Opens a batch. Raises Fenced, ProducerLost."""
        self._once(self._producer.begin_transaction)
        self.is_open, self.opened_at = True, time.monotonic()

    def put(self, record: Parts, on_delivery: Callable[[KafkaError | None, object], None] | None = None) -> None:
        """Hands a record over; waits while the queue is full. Raises Unroutable, Aborted, Fenced, ProducerLost, Stopped."""
        topic, key, value, headers, timestamp_ms, partition = record
        waited_since = told_at = 0.0
        while True:
            try:
                # By place, as names double the cost; of the two places for a callback the first counts.
                self._produce(topic, value, key, partition, on_delivery, None, timestamp_ms, headers)
                return
            except BufferError:
                self._once(lambda: self._producer.poll(_QUEUE_FULL_WAIT_S))
                self._while_waiting()
                now = time.monotonic()
                waited_since, told_at = waited_since or now, told_at or now
                if now - told_at > _CALL_S:
                    told_at = now
                    _log.warning("kafka: trying again", step="produce", error="the queue of records stays full")
                self._give_up_if_stopped(waited_since, "produce")
            except KafkaException as error:
                if error.args[0].code() in ROW_ERRORS:
                    raise Unroutable(error.args[0].str()) from None
                if error.args[0].code() != KafkaError._STATE:
                    self._judge(error)
                # An earlier record of the batch was refused: nothing more is taken until the abort.
                raise Aborted(error.args[0].str()) from None

    def serve(self) -> None:
        """Lets librdkafka report; called every thousand rows, so that reports do not pile up."""
        # A fatal error is raised by whatever call serves it first.
        self._once(lambda: self._producer.poll(0))

    def flush(self) -> None:
        """Waits until every record handed over is delivered or refused; for finding out which one was refused."""
        left = 1

        def flush() -> None:
            nonlocal left
            left = self._producer.flush(_CALL_S)

        while left:
            self._once(flush)
            if left:
                _log.warning("kafka: trying again", step="flush", records_left=left)
            self._while_waiting()

    def commit(self, stored: Reached) -> None:
        """Ends the batch with how far it reaches. Raises Aborted, Fenced, ProducerLost, Stopped."""
        if not self.is_open:
            self.begin()
        headers: Headers = []
        value = stored.to_json(time.time())
        self.put(Record(self._config.positions_topic, self._config.name.encode(), value, headers, partition=0))
        # A time-out means "not known yet": the same commit again, never an abort.
        self._until_done(lambda: self._producer.commit_transaction(_CALL_S), "commit")
        self.is_open = False

    def abort(self) -> None:
        """Drops an open batch. Raises Fenced, ProducerLost, Stopped."""
        if self.is_open:
            self._until_done(lambda: self._producer.abort_transaction(_CALL_S), "abort")
            self.is_open = False

    def _heard(self, error: KafkaError) -> None:
        # Transport troubles that librdkafka mends by itself; fatal ones come up again in the next call.
        _log.warning("kafka", error=error.str(), code=error.name())

    def _once(self, call: Callable[[], object]) -> None:
        try:
            call()
        except KafkaException as error:
            self._judge(error)
            raise ProducerLost(error.args[0].str()) from None

    def _until_done(self, call: Callable[[], None], what: str) -> None:
        since = time.monotonic()
        while True:
            try:
                call()
                return
            except KafkaException as error:
                self._judge(error)
                _log.warning("kafka: trying again", step=what, error=error.args[0].str())
            self.serve()
            self._while_waiting()
            self._give_up_if_stopped(since, what)

    def _give_up_if_stopped(self, since: float, what: str) -> None:
        if self._stop() and time.monotonic() - since > _STOPPED_AFTER_S:
            raise Stopped(f"asked to end while {what} waited for Kafka")

    def _judge(self, raised: KafkaException) -> None:
        """Returns for "the same call again"; raises for everything else."""
        error = raised.args[0]
        if error.code() == KafkaError._FATAL:
            error = self._named_fatal(error)
        if error.code() in _FENCED:
            raise Fenced(self._config.name, self._config.transaction_timeout_ms, error.str())
        if error.txn_requires_abort():
            raise Aborted(error.str())
        if not error.retriable():
            raise ProducerLost(error.str())

    def _named_fatal(self, unnamed: KafkaError) -> KafkaError:
        """`produce` says only that something fatal happened; a transactional call says what it was."""
        try:
            self._producer.poll(0)  # librdkafka's own lines, before the process ends
            self._producer.begin_transaction()
        except KafkaException as named:
            return named.args[0]
        return unnamed
