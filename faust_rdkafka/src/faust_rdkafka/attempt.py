"""One try at running a batch: which deliveries are still with agents, and whether an agent raised."""

from __future__ import annotations

import asyncio

from confluent_kafka import Message
from faust.types import TP, ConsumerMessage

from .records import raw_record

_STALE = -1  # no generation has this number, so Faust's stream passes over the event


class Delivery(ConsumerMessage):
    """A Faust message that tells its attempt when its stream acknowledges it.

    Faust's compiled stream iterator sets `acked` itself and never asks the consumer, hence a property.
    """

    _acked = False
    attempt: Attempt | None = None

    @property
    def acked(self) -> bool:
        return self._acked

    @acked.setter
    def acked(self, value: bool) -> None:
        if value and not self._acked and self.attempt is not None:
            self._acked = True
            self.attempt.one_ended()
        self._acked = value


class Attempt:
    """Counts deliveries; `done` is set when each has been acknowledged or will not be begun."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.done = asyncio.Event()
        self.error: BaseException | None = None
        self._deliveries: list[Delivery] = []
        self._pending = 1  # one for the delivering itself

    def delivery(self, tp: TP, message: Message) -> Delivery:
        """A message for one channel, with one reference, counted."""
        raw = raw_record(message)
        delivery = Delivery(
            raw.topic,
            raw.partition,
            raw.offset,
            raw.timestamp,
            message.timestamp()[0],
            raw.headers,
            raw.key,
            raw.value,
            None,
            tp=tp,
            generation_id=self.generation,
        )
        delivery.refcount = 1
        delivery.attempt = self
        self._deliveries.append(delivery)
        self._pending += 1
        return delivery

    def one_ended(self) -> None:
        self._pending -= 1
        if not self._pending:
            self.done.set()

    def fail(self, error: BaseException) -> None:
        """An agent raised: what no agent has begun is not begun any more; what runs may run to its end."""
        if self.error is not None:
            return
        self.error = error
        for delivery in self._deliveries:
            if not delivery.acked and not delivery.tracked:
                delivery.generation_id = _STALE
                delivery.acked = True

    def give_up(self) -> None:
        """The worker stops or has lost the partitions: nobody waits for these deliveries any more."""
        self.fail(asyncio.CancelledError())
        self.done.set()
