"""The fetch thread, over a consumer that does as it is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message
from faust_rdkafka.fetch import Fetcher
from faust_rdkafka.options import Options
from faust_rdkafka.stats import Stats


class Told:
    """A consumer whose first poll loses the partitions and gives a notice; all later ones give nothing."""

    def __init__(self, code: int) -> None:
        self._notices = [Message(error=KafkaError(code))]
        self.polled_on = threading.Event()

    def subscribe(self, _: list[str], on_lost: Callable[..., None], **__: Any) -> None:
        self._on_lost = on_lost

    def poll(self, _: float) -> Message | None:
        if not self._notices:
            self.polled_on.set()
            return None
        self._on_lost(self, [])
        return self._notices.pop()

    def consume(self, _: int, __: float) -> list[Message]:
        return []

    def unassign(self) -> None: ...
    def close(self) -> None: ...


class Hears:
    """A listener that keeps what the thread failed of."""

    def __init__(self) -> None:
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def wake(self) -> None: ...
    async def revoked(self, _: Any) -> None: ...

    def failed(self, error: BaseException) -> None:
        self.failure.set_result(error)


def started(listener: Hears, consumer: Told) -> Fetcher:
    fetcher = Fetcher({}, Options(), listener, Stats(), lambda *_, **__: consumer)
    fetcher.subscribe(["src"])
    fetcher.start(asyncio.get_running_loop())
    return fetcher


async def test_a_consumer_that_dies_while_its_partitions_are_taken_away_is_not_waited_for() -> None:
    """As after an outage of the broker that was longer than the session: what comes with a rebalance is thrown away."""
    listener = Hears()
    started(listener, Told(KafkaError._FATAL))
    error = await asyncio.wait_for(listener.failure, 10)
    assert isinstance(error, KafkaException)
    assert error.args[0].code() == KafkaError._FATAL


async def test_other_notices_that_come_with_a_rebalance_end_nothing() -> None:
    listener = Hears()
    consumer = Told(KafkaError._ALL_BROKERS_DOWN)
    fetcher = started(listener, consumer)
    assert await asyncio.to_thread(consumer.polled_on.wait, 10)
    await fetcher.stop()
    assert not listener.failure.done()
