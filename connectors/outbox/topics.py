"""What Kafka's topics can take, so that a record they would refuse is found before it is sent."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import ProducerLost
from connectors.outbox.plans import Parts
from connectors.outbox.routing import Unroutable, record_bytes

_log = structlog.get_logger()

_ILLEGAL = re.compile(r"[^a-zA-Z0-9._-]")
_NAME_MAX = 249
# A batch of one record is larger than the record by its own header (61 bytes and some variable lengths).
_BATCH_OVERHEAD_BYTES = 128
# How long "there is no such topic" is believed, and how long a topic's limits are.
_ABSENT_FOR_S = 1.0
_KNOWN_FOR_S = 300.0
_ANSWER_WITHIN_S = 10.0
_DEFAULT_BYTES_MAX = 1_048_588 - _BATCH_OVERHEAD_BYTES
_FORBIDDEN = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)


def admin_settings(config: OutboxConfig) -> dict[str, str | int | float | bool]:
    """librdkafka's settings for an AdminClient of this connector."""
    security = {
        name: value
        for name, value in config.kafka.items()
        if name.startswith(("security.", "sasl.", "ssl.", "client."))
    }
    return {"log_level": 2, **security, "bootstrap.servers": config.bootstrap}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's limits."""

    partitions: int
    record_bytes_max: int
    compacted: bool


class Topics:
    """The topics of one broker, asked for once and remembered.

    A name asked for again and again while it is absent costs one question a second.
    """

    def __init__(self, admin: AdminClient, config: OutboxConfig) -> None:
        self._admin, self._config = admin, config
        self._record_bytes_max, self._create_missing = config.record_bytes_max, config.create_topics
        self._known: dict[str, Topic] = {}
        self._absent_until: dict[str, float] = {}
        self._forget_at = 0.0

    def forget(self) -> None:
        """Asks anew from here on: something was refused that should not have been."""
        self._known.clear()
        self._absent_until.clear()

    def check(self, record: Parts, size_bound: int) -> None:
        """Raises Unroutable for a record that its topic cannot take; `size_bound` is an upper bound of its bytes."""
        name, key, _, _, _, partition = record
        topic = self._known.get(name)
        if topic is None:
            topic = self._find(name)
        if size_bound > topic.record_bytes_max and (size := record_bytes(record)) > topic.record_bytes_max:
            raise Unroutable(f"{size} bytes, topic {name} takes {topic.record_bytes_max}")
        if partition >= topic.partitions:
            raise Unroutable(f"partition {partition}, topic {name} has {topic.partitions}")
        if key is None and topic.compacted:
            raise Unroutable(f"no key, and topic {name} is compacted")

    def refresh_if_old(self) -> None:
        """Called between batches: limits can be changed by hand, and partitions added."""
        if (now := time.monotonic()) > self._forget_at:
            self._forget_at = now + _KNOWN_FOR_S
            self.forget()

    def ensure(self, name: str, partitions: int, config: dict[str, str]) -> None:
        """Makes the topic if it is missing; `partitions` -1 means the broker's default. Raises KafkaException."""
        replication = self._config.new_topic_replication
        future = self._admin.create_topics([NewTopic(name, partitions, replication, config=config)])[name]
        try:
            future.result(_ANSWER_WITHIN_S)
            _log.info("topic made", topic=name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def _find(self, name: str) -> Topic:
        if not name or len(name) > _NAME_MAX or _ILLEGAL.search(name) or name in (".", ".."):
            raise Unroutable(f"{name[:260]!r} is no legal topic name")
        if self._absent_until.get(name, 0.0) > time.monotonic():
            raise Unroutable(f"there is no topic {name}")
        try:
            partitions = self._partitions(name)
            if partitions is None and self._create_missing:
                self.ensure(name, self._config.new_topic_partitions, dict(self._config.new_topic_settings))
                partitions = self._partitions_of_new(name)
            if partitions is None:
                self._absent_until[name] = time.monotonic() + _ABSENT_FOR_S
                raise Unroutable(f"there is no topic {name}")
            self._known[name] = found = self._limits(name, partitions)
        except KafkaException as error:
            raise ProducerLost(f"topic {name}: {error.args[0].str()}") from None
        return found

    def _partitions(self, name: str) -> int | None:
        # The whole list, not the one name: asking for one may make the broker create it.
        found = self._admin.list_topics(timeout=_ANSWER_WITHIN_S).topics.get(name)
        return len(found.partitions) if found is not None and found.error is None else None

    def _partitions_of_new(self, name: str) -> int | None:
        deadline = time.monotonic() + _ANSWER_WITHIN_S
        while (found := self._partitions(name)) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def _limits(self, name: str, partitions: int) -> Topic:
        resource = ConfigResource(ResourceType.TOPIC, name)
        try:
            entries = self._admin.describe_configs([resource])[resource].result(_ANSWER_WITHIN_S)
        except KafkaException as error:
            if error.args[0].code() not in _FORBIDDEN:
                raise
            # Writing may be allowed where describing is not; then the broker's defaults are the best guess.
            return Topic(partitions, min(_DEFAULT_BYTES_MAX, self._record_bytes_max), compacted=False)
        limit = int(entries["max.message.bytes"].value) - _BATCH_OVERHEAD_BYTES
        compacted = "compact" in entries["cleanup.policy"].value
        return Topic(partitions, min(limit, self._record_bytes_max), compacted)
