"""What a start asks of Kafka while it looks at the database: connections, and which topics there are.

Nothing is fenced and nothing is written before the database was found fit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connectors.outbox.errors import ProducerLost
from connectors.outbox.publisher import Publisher

T = TypeVar("T")

_ANSWER_WITHIN_S = 10.0


class Ahead:
    """Begins when it is made, and outlives tries that fail at the database."""

    def __init__(self, publisher: Publisher, admin: AdminClient) -> None:
        self._publisher = publisher
        self._connected = _beside(publisher.connect)
        # All names, for to ask for one may make the broker create it.
        self._listed = _beside(lambda: frozenset(admin.list_topics(timeout=_ANSWER_WITHIN_S).topics))

    def serve(self) -> None:
        """Lets librdkafka report while the database is away, so that reports do not pile up."""
        self._publisher.serve()

    def take_over(self) -> Publisher:
        """The publisher, once it has taken over. Raises what `Publisher.take_over` does."""
        self._connected.result()
        self._publisher.take_over()
        return self._publisher

    def topics(self) -> frozenset[str]:
        """Names of the topics there were when this was made. Raises ProducerLost."""
        try:
            return self._listed.result()
        except KafkaException as error:
            raise ProducerLost(f"topics: {error.args[0].str()}") from None


def _beside(call: Callable[[], T]) -> Future[T]:
    """In a thread that no end of the process waits for: both calls may last while Kafka is away."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, name="ahead", daemon=True).start()
    return future
