"""What a person asks of a running connector: what is not published, and that it be tried again.

Asking is a record in the connector's own topic; the process that owns the connector answers. Nobody else ever writes rows.
"""

from __future__ import annotations

import time
import uuid

from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import ProducerLost
from connectors.outbox.waiting.entries import REDRIVE, Request
from connectors.outbox.waiting.topic import Read, read_waiting

_SEND_WITHIN_S = 10.0
_LOOK_AGAIN_S = 0.2


def connector_named(
    name: str, bootstrap: str, kafka: dict[str, str | int | float | bool] | None = None
) -> OutboxConfig:
    """As much of a connector's options as its own topics need."""
    return OutboxConfig(name, "", bootstrap, "public.outbox", "none", kafka=kafka or {})


def ask(config: OutboxConfig, request: Request) -> bytes:
    """Sends the request; gives its key. Raises ProducerLost."""
    key = REDRIVE + uuid.uuid4().hex.encode()
    send(config, key, request.to_json())
    return key


def send(config: OutboxConfig, key: bytes, value: bytes | None) -> None:
    """Writes one record to the connector's own topic. Raises ProducerLost."""
    refused: list[KafkaError] = []
    producer = Producer({"log_level": 2, **config.kafka, "bootstrap.servers": config.bootstrap, "acks": "all"})

    def delivered(error: KafkaError | None, _: object) -> None:
        if error is not None:
            refused.append(error)

    try:
        producer.produce(config.waiting_topic, value, key, 0, on_delivery=delivered)
    except KafkaException as error:
        raise ProducerLost(f"request: {error.args[0].str()}") from None
    if producer.flush(_SEND_WITHIN_S) or refused:
        raise ProducerLost(f"request: {refused[0].str() if refused else 'kafka does not answer'}")


def until_answered(config: OutboxConfig, key: bytes, within_s: float) -> Read | None:
    """What is left after the answer; None if the connector gave none in time, as it does while it does not run."""
    deadline = time.monotonic() + within_s
    while key in (found := read_waiting(config)).requests:
        if time.monotonic() > deadline:
            return None
        time.sleep(_LOOK_AGAIN_S)
    return found
