"""What the broker says of changelog topics: which topic it is, and for how long it keeps tombstones."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from .errors import cause
from .restore_jobs import DEFAULT_DELETE_RETENTION_MS, Changelog

log = logging.getLogger(__name__)

_WITHIN_S = 10.0
_RETENTION = "delete.retention.ms"
_NOT_ALLOWED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)


def describe(client: Mapping[str, Any], topics: Sequence[str]) -> dict[str, Changelog]:
    """By topic name. KafkaException when the broker does not answer."""
    admin = AdminClient(dict(client))
    described = admin.describe_topics(TopicCollection(list(topics)), request_timeout=_WITHIN_S)
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
    configs = {
        resource.name: future for resource, future in admin.describe_configs(asked, request_timeout=_WITHIN_S).items()
    }
    return {
        name: Changelog(_bytes_of(future.result(2 * _WITHIN_S).topic_id), _retention_ms(name, configs[name]))
        for name, future in described.items()
    }


def _retention_ms(topic: str, configs: Any) -> int:
    try:
        return int(configs.result(2 * _WITHIN_S)[_RETENTION].value)
    except KafkaException as error:
        if cause(error).code() not in _NOT_ALLOWED:
            raise
        log.warning("%s of %s may not be read: Kafka's default of a day is taken", _RETENTION, topic)
        return DEFAULT_DELETE_RETENTION_MS


def _bytes_of(topic_id: Any) -> bytes:
    """Kafka's Uuid as its 16 bytes."""
    high, low = topic_id.get_most_significant_bits(), topic_id.get_least_significant_bits()
    return b"".join((half & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "big") for half in (high, low))
