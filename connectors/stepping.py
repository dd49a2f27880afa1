"""The loop that every sink runs: step after step, and begin anew after what passes by itself."""

from __future__ import annotations

from threading import Event
from typing import Protocol

import structlog
from prometheus_client import Counter

from connectors.backoff import Backoff
from connectors.consuming import PlacedConsumer
from connectors.probes import Health

log = structlog.get_logger(__name__)


class Sink(Protocol):
    """What the loop asks of a sink. `passing` are the errors after which it begins anew; any other one ends it."""

    consumer: PlacedConsumer
    restarts: Counter

    @property
    def passing(self) -> tuple[type[Exception], ...]: ...
    def step(self) -> None: ...
    def forget(self, reason: Exception) -> None: ...


def step_until(stop: Event, sink: Sink, health: Health) -> None:
    """Steps until `stop` is set; waits without end for a server that is away, as a member that keeps its partitions."""
    backoff = Backoff()
    health.waits_for("its partitions")
    while not stop.is_set():
        try:
            sink.step()
        except sink.passing as reason:
            wait_s = backoff.next_s()
            sink.restarts.labels(type(reason).__name__).inc()
            log.warning("begins anew", reason=str(reason), error=type(reason).__name__, wait_s=wait_s)
            health.waits_for(str(reason))
            sink.forget(reason)
            sink.consumer.unplace()
            sink.consumer.idle(wait_s, stop)
            continue
        backoff.reset()
        if sink.consumer.joined:
            health.ready()
        else:
            health.beat()
