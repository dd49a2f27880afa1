"""Commands to Kafka: an idempotent producer that says when a record is kept."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Protocol

from confluent_kafka import KafkaException, Producer

from schemas.codec import Codec
from schemas.envelope import Message
from schemas.records import encode_record

# A command that Kafka did not take within this time is reported as such; the same key may be tried again.
DELIVERY_TIMEOUT_MS = 5_000
# Commands of people come one by one; waiting for company would only add to their wait.
LINGER_MS = 0
MESSAGES_MAX = 10_000
POLL_S = 0.05
FLUSH_WITHIN_S = 5.0


class NotSent(Exception):
    """Kafka did not take the command; whether it is there is not known, so the same id is to be sent again."""


class CommandSender(Protocol):
    """Takes commands to their topic."""

    async def send(self, topic: str, command: Message) -> None:
        """Returns when every in-sync replica holds the record. Raises NotSent."""


class KafkaCommands:
    """Sends with librdkafka; `close` when done."""

    def __init__(self, bootstrap: str, codec: Codec) -> None:
        self._codec = codec
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "tally-api",
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "linger.ms": LINGER_MS,
                "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
                "queue.buffering.max.messages": MESSAGES_MAX,
            }
        )
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="kafka-commands", daemon=True)
        self._thread.start()

    async def send(self, topic: str, command: Message) -> None:
        """See `CommandSender.send`."""
        loop = asyncio.get_running_loop()
        kept: asyncio.Future[None] = loop.create_future()

        def delivered(error: Any, _: Any) -> None:
            loop.call_soon_threadsafe(_settle, kept, error)

        key, value, headers = encode_record(command, self._codec)
        try:
            self._producer.produce(topic, key=key, value=value, headers=headers, on_delivery=delivered)
        except KafkaException as error:
            raise NotSent(error.args[0].str()) from error
        except BufferError as error:
            raise NotSent(str(error)) from error
        await kept

    def close(self) -> None:
        """Waits a little for what is on its way, then ends."""
        self._producer.flush(FLUSH_WITHIN_S)
        self._closing.set()
        self._thread.join(FLUSH_WITHIN_S)

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(POLL_S)


def _settle(kept: asyncio.Future[None], error: Any) -> None:
    if kept.done():
        return
    if error is None:
        kept.set_result(None)
    else:
        kept.set_exception(NotSent(error.str()))
