"""One Kafka transaction: outputs, changelogs and offsets, with each kind of librdkafka's errors met by its own answer.

Order is the correctness here:
1. begin;
2. hand all records to librdkafka;
3. send the offsets with the group metadata of the assignment that the records were read under;
4. flush, commit.

A retriable error repeats the same call, a time-out of the commit too: its outcome is unknown until it answers.
An abortable error aborts, and the same content is tried again, unless the partitions were taken away in between.
A fatal one, or being fenced, ends the process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from .errors import Abandoned, Fenced, cause, is_epoch, is_fatal
from .records import Headers
from .stats import Stats

log = logging.getLogger(__name__)

# topic, key, value, partition (-1: by key), headers, timestamp in ms (0: now)
Outgoing = tuple[str, bytes | None, bytes | None, int, Headers | None, int]

_CALL_S = 10.0
_ROOM_S = 0.1
_BACKOFF_S = 0.05
_BACKOFF_MAX_S = 1.0
_ABORTS_MAX = 30  # of one batch: half a minute; what still aborts then does not heal by itself


@dataclass
class Content:
    """What one transaction holds. `changelogs` comes back as the last offset written of each changelog partition."""

    records: list[Outgoing]
    changelog_at: int  # records from this index on are changelog records
    offsets: list[TopicPartition]
    metadata: Any
    still_ours: Callable[[], bool]
    changelog_offsets: dict[tuple[str, int], int] = field(default_factory=dict)


def new_client(config: dict[str, Any]) -> Any:
    """librdkafka's producer."""
    return Producer(config, logger=log)


class Transactions:
    """Blocking calls, all made from the one commit thread. `make` is confluent_kafka's Producer or its like."""

    def __init__(
        self, config: dict[str, Any], stats: Stats, make: Callable[[dict[str, Any]], Any] = new_client
    ) -> None:
        self._config = config
        self._stats = stats
        self._make = make
        self.stopping = threading.Event()

    def open(self) -> None:
        self._producer = self._make(self._config)
        self._patiently("init_transactions", lambda: self._producer.init_transactions(_CALL_S))

    def run(self, content: Content) -> None:
        """Returns when committed. Raises Abandoned (nothing is written) or Fenced."""
        backoff_s = _BACKOFF_S
        for _ in range(_ABORTS_MAX):
            try:
                self._once(content)
                return
            except KafkaException as error:
                self._abort(cause(error))
                if is_epoch(cause(error)):
                    raise Abandoned(str(error)) from error
                log.warning("transaction aborted, trying again: %s", cause(error))
            if not content.still_ours() or self.stopping.wait(backoff_s):
                raise Abandoned("the partitions were taken away while a transaction was tried again")
            backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
        raise Fenced(f"a transaction was aborted {_ABORTS_MAX} times")

    def _once(self, content: Content) -> None:
        began = time.perf_counter()
        producer = self._producer
        self._patiently("begin_transaction", producer.begin_transaction)
        self._produce(content)
        produced = time.perf_counter()
        self._stats.produce_s += produced - began
        if content.offsets:
            self._patiently(
                "send_offsets_to_transaction",
                lambda: producer.send_offsets_to_transaction(content.offsets, content.metadata, _CALL_S),
            )
        self._patiently("commit_transaction", lambda: producer.commit_transaction(_CALL_S))
        self._stats.commit_s += time.perf_counter() - produced

    def _produce(self, content: Content) -> None:
        produce = self._producer.produce
        at = content.changelog_at
        # Most records need four arguments, and by name they would cost a third of the call.
        for record in content.records[:at]:
            topic, key, value, partition, headers, timestamp_ms = record
            try:
                if headers or timestamp_ms:
                    produce(topic, value, key, partition, timestamp=timestamp_ms, headers=headers or [])
                else:
                    produce(topic, value, key, partition)
            except BufferError:
                self._produce_when_there_is_room(record)
        changelog = content.records[at:]
        last = {(record[0], record[3]): index for index, record in enumerate(changelog)}
        asked = set(last.values())

        def note(error: KafkaError | None, message: Message) -> None:
            if error is None:
                content.changelog_offsets[message.topic(), message.partition()] = message.offset()

        for index, record in enumerate(changelog):
            if index in asked:
                self._produce_when_there_is_room(record, note)
                continue
            try:
                produce(record[0], record[2], record[1], record[3])
            except BufferError:
                self._produce_when_there_is_room(record)

    def _produce_when_there_is_room(self, record: Outgoing, told: Callable[..., None] | None = None) -> None:
        topic, key, value, partition, headers, timestamp_ms = record
        options = {"timestamp": timestamp_ms, "headers": headers or [], "on_delivery": told}
        while True:
            try:
                self._producer.produce(topic, value, key, partition, **options)
                return
            except BufferError:
                self._producer.poll(_ROOM_S)  # librdkafka's queue is full: it empties as the broker answers

    def _abort(self, error: KafkaError) -> None:
        if is_fatal(error):
            raise Fenced(str(error))
        self._stats.aborts += 1
        try:
            self._patiently("abort_transaction", lambda: self._producer.abort_transaction(_CALL_S))
        except KafkaException as worse:
            raise Fenced(f"{error}; then the abort failed: {cause(worse)}") from worse
        except Fenced as fatal:
            # A broker that went down before it had registered the transaction knows of none to abort. To librdkafka
            # that is fatal, but no commit was asked for: a new producer of the same id can go on.
            why = fatal.__cause__
            if not (isinstance(why, KafkaException) and cause(why).code() == KafkaError.INVALID_TXN_STATE):
                raise
            log.warning("%s; going on with a new producer", fatal)
            self.open()

    def _patiently(self, name: str, call: Callable[[], object]) -> None:
        """Make the call again for as long as librdkafka says that this is safe."""
        warned = False
        while True:
            try:
                call()
                return
            except KafkaException as raised:
                error = cause(raised)
                if is_fatal(error):
                    raise Fenced(f"{name}: {error}") from raised
                if not error.retriable() or error.txn_requires_abort():
                    raise
                if self.stopping.wait(_BACKOFF_S):
                    raise Fenced(f"{name}: the worker was stopped while no broker answered: {error}") from raised
                self._stats.retries += 1
                if not warned:
                    warned = True
                    log.warning("%s: %s; trying again", name, error)
