"""The one writer of a replay's row: a transactional producer that carries the row and the records it accounts for.

Order: 1. `take_over` fences every older process of the same replay and ends what it left open; 2. records; 3. the row;
4. commit. Source: KIP-98; librdkafka's manual, "Transactional producer".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.codec import Codec
from schemas.messages import ReplayActed
from schemas.topics import AUDIT_TRAIL, REPLAYS
from tally.reading.reader import Headers, Unreachable
from tally.replaying.errors import CannotGoOn, TakenOver
from tally.replaying.standing import Act, Replay, Standing
from tally.trail import trail_record

# A killed replay's transaction holds back committed readers of its target for so long, unless it is resumed before.
TRANSACTION_TIMEOUT_S = 30.0
_CALL_S = 5.0
# A broker may be restarted under a replay; beyond this it is given up, and can be resumed.
_GIVEN_UP_AFTER_S = 60.0
_QUEUE_FULL_WAIT_S = 0.05
# Topics judge a record by their own limit; this one only keeps librdkafka from judging it before.
_MESSAGE_BYTES_MAX = 256 * 1024 * 1024
_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)


class Outgoing(NamedTuple):
    """A record to be written; `origin` names it where it is refused; timestamp 0 is now."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    origin: str


class Journal:
    """Every method raises TakenOver, CannotGoOn or Unreachable; what was not committed then never was."""

    def __init__(self, bootstrap: str, id_: str) -> None:
        self._id, self._bootstrap = id_, bootstrap
        self._is_open = False
        self._refused = ""
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": f"tally-replay-{id_}",
                "transaction.timeout.ms": round(TRANSACTION_TIMEOUT_S * 1_000),
                "partitioner": "murmur2_random",
                "message.max.bytes": _MESSAGE_BYTES_MAX,
                "linger.ms": 5,
                # With "rebootstrap" librdkafka 2.16 never finds the coordinator again once all brokers were away.
                "metadata.recovery.strategy": "none",
                "log_level": 0,
            }
        )

    def take_over(self) -> None:
        """Fences older processes of this replay; returns once nothing of theirs is open."""
        self._until_done(lambda: self._producer.init_transactions(2 * _CALL_S))

    def put(self, record: Outgoing) -> None:
        """Hands a record over, into the open transaction; waits while librdkafka's queue is full."""
        self._begin()
        since = time.monotonic()
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    headers=record.headers,
                    timestamp=record.timestamp_ms,
                    on_delivery=partial(self._delivered, record.origin),
                )
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(_QUEUE_FULL_WAIT_S)
                self._check_patience(since, "no room in the queue")
            except KafkaException as error:
                raise self._named(error.args[0]) from None

    def note(self, act: Act, replay: Replay, codec: Codec) -> None:
        """Hands over, into the open transaction, what the audit trail is to have of an act."""
        topics = ", ".join(dict.fromkeys(each.topic for each in replay.ranges))
        body = ReplayActed(act.name, act.by, act.reason, topics, replay.into)
        key, value, headers = trail_record("replays", replay.id, body, codec)
        self.put(Outgoing(AUDIT_TRAIL, key, value, [*headers], 0, "the record of the audit trail"))

    def commit(self, standing: Standing) -> None:
        """Makes the row and the records before it durable and seen, all or none."""
        self._end(standing.replay.id, standing.to_json())

    def forget(self) -> None:
        """Takes the row away."""
        self._end(self._id, None)

    def abort(self) -> None:
        """Drops what is open; without a word when even that fails, for the next process does it then."""
        if not self._is_open:
            return
        try:
            self._producer.abort_transaction(2 * _CALL_S)
        except KafkaException:
            pass  # the broker ends it after the time-out, or the next `take_over` before
        self._is_open = False
        self._refused = ""

    def _begin(self) -> None:
        if self._is_open:
            return
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            raise self._named(error.args[0]) from None
        self._is_open = True

    def _end(self, id_: str, row: bytes | None) -> None:
        self.put(Outgoing(REPLAYS, id_.encode(), row, [], 0, "the replay's row"))
        self._until_done(lambda: self._producer.commit_transaction(_CALL_S))
        self._is_open = False

    def _delivered(self, origin: str, error: KafkaError | None, sent: Message) -> None:
        # After the first refusal all that follows is purged: the first one is the reason.
        if error is not None and not self._refused and error.code() not in (KafkaError._PURGE_QUEUE, *_FENCED):
            self._refused = f"{sent.topic()} did not take {origin}: {error.str()}"

    def _until_done(self, call: Callable[[], object]) -> None:
        since = time.monotonic()
        while True:
            try:
                call()
                return
            except KafkaException as error:
                if not error.args[0].retriable() or error.args[0].txn_requires_abort():
                    raise self._named(error.args[0]) from None
                self._check_patience(since, error.args[0].str())

    def _check_patience(self, since: float, reason: str) -> None:
        if time.monotonic() - since > _GIVEN_UP_AFTER_S:
            raise Unreachable(f"Kafka at {self._bootstrap} did not take it in {_GIVEN_UP_AFTER_S:.0f} s: {reason}")

    def _named(self, error: KafkaError) -> Exception:
        if error.code() in _FENCED or self._is_fenced(error):
            return TakenOver(self._id)
        if self._refused:
            return CannotGoOn(self._refused)
        if error.txn_requires_abort():
            return CannotGoOn(f"Kafka refused the batch: {error.str()}")
        return Unreachable(f"Kafka at {self._bootstrap}: {error.str()}")

    def _is_fenced(self, error: KafkaError) -> bool:
        """`produce` says only that something fatal happened; a transactional call says what it was."""
        if error.code() != KafkaError._FATAL:
            return False
        try:
            self._producer.begin_transaction()
        except KafkaException as named:
            return named.args[0].code() in _FENCED
        return False
