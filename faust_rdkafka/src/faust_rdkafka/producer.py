"""Collects what agents send; the batch's transaction takes it from here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import NewTopic
from faust.streams import current_event
from faust.transport.producer import Producer as FaustProducer
from faust.types import TP
from faust.types.tuples import RecordMetadata

from .errors import Misconfigured, cause
from .options import producer_config
from .records import Headers
from .transaction import Outgoing, Transactions, new_client

# Set in the context of a running batch timer: what is sent there belongs to the timer's transaction.
in_batch_timer: ContextVar[bool] = ContextVar("in_batch_timer", default=False)


class Producer(FaustProducer):
    """Nothing is produced before the batch is complete, so `await send()` means taken, not written."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.of_batch: list[Outgoing] = []
        self.aside: list[Outgoing] = []  # sent outside of a batch: survives the undoing of one
        self.on_aside: Callable[[], None] = _nobody
        self.pool = ThreadPoolExecutor(1, "rdkafka-commit")
        self.make_client: Callable[[dict[str, Any]], Any] = new_client  # another one may be set before the start
        self.transactions: Transactions

    async def on_start(self) -> None:
        transport = self.transport
        config = producer_config(transport.options, transport.client_config(), self.app.conf.id)
        self.transactions = Transactions(config, transport.stats, self.make_client)
        await asyncio.get_running_loop().run_in_executor(self.pool, self.transactions.open)

    async def on_stop(self) -> None:
        self.pool.shutdown(wait=True)

    def add(self, record: Outgoing) -> None:
        if current_event() is not None or in_batch_timer.get():
            self.of_batch.append(record)
        else:
            self.aside.append(record)
            self.on_aside()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Any:
        self.add((topic, key, value, -1 if partition is None else partition, pairs(headers), milliseconds(timestamp)))
        future = asyncio.get_running_loop().create_future()
        future.set_result(RecordMetadata(topic, partition, TP(topic, partition), -1))
        return future

    async def send_and_wait(self, *args: Any, **options: Any) -> Any:
        return await (await self.send(*args, **options))

    def send_soon(self, fut: Any) -> None:
        m = fut.message
        self.add(
            (
                m.channel.get_topic_name(),
                m.key,
                m.value,
                -1 if m.partition is None else m.partition,
                pairs(m.headers),
                milliseconds(m.timestamp),
            )
        )

    async def flush(self) -> None:
        """Transactions flush; between them there is nothing in flight."""

    def key_partition(self, topic: str, key: bytes) -> TP:
        return TP(topic, None)

    def supports_headers(self) -> bool:
        return True

    async def create_topic(
        self, topic: str, partitions: int, replication: int, *, config: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        """Make a topic when it is missing. Faust's `timeout` and `ensure_created` change nothing here."""
        settings = {name: str(value) for name, value in (config or {}).items()}
        policy = [name for name, on in (("compact", "compacting"), ("delete", "deleting")) if options.get(on)]
        if policy:
            settings["cleanup.policy"] = ",".join(policy)
        if options.get("retention"):
            settings["retention.ms"] = str(int(options["retention"] * 1000))
        new = NewTopic(topic, partitions, replication, config=settings)
        for future in self.transport.admin.create_topics([new]).values():
            try:
                await asyncio.wrap_future(future)
            except KafkaException as error:
                if cause(error).name() != "TOPIC_ALREADY_EXISTS":
                    raise Misconfigured(f"topic {topic!r} cannot be made: {cause(error)}") from error


def _nobody() -> None: ...


def pairs(headers: Any) -> Headers | None:
    """Headers as librdkafka takes them: a list of pairs."""
    if not headers:
        return None
    return list(headers.items()) if isinstance(headers, Mapping) else list(headers)


def milliseconds(timestamp_s: float | None) -> int:
    """0 means now to librdkafka."""
    return 0 if timestamp_s is None else round(timestamp_s * 1000)
