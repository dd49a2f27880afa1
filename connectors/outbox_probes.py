"""The outbox connector's figures as health and metrics for the probes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from connectors.outbox import Metrics
from connectors.outbox.metrics import LATENCY_BOUNDS_S
from connectors.probes import SILENT_MAX_S


class OutboxHealth:
    """What the probes ask, answered from the connector's figures."""

    def __init__(self, metrics: Metrics, silent_max_s: float = SILENT_MAX_S) -> None:
        self._metrics, self._silent_max_s = metrics, silent_max_s
        self._started = False

    def why_not_live(self) -> str | None:
        """None while it gives signs of life: one that cannot go on ends its process, only one that hangs is left."""
        silent_s = time.monotonic() - self._metrics.beat_s
        return f"no sign for {silent_s:.0f} s" if silent_s > self._silent_max_s else None

    def why_not_ready(self) -> str | None:
        """None while it streams and is not paused."""
        if self._metrics.waiting_full:
            return "paused: too many rows wait behind a failed one"
        if self._metrics.ready:
            self._started = True
            return None
        return f"state {self._metrics.state}"

    def why_not_started(self) -> str | None:
        """None once it has been seen streaming."""
        reason = self.why_not_ready()
        return None if self._started else reason


class OutboxFigures(Collector):
    """The figures for a page of metrics, labelled by connector."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self._name, self._metrics = name, metrics

    def collect(self) -> Iterator[Metric]:
        """One family a figure."""
        for name, kind, value in self._metrics.samples():
            family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            metric = family(name, name.replace("_", " "), labels=["connector"])
            metric.add_metric([self._name], value)
            yield metric
        yield self._latency()

    def _latency(self) -> Metric:
        latency = self._metrics.latency
        bounds = [*map(str, LATENCY_BOUNDS_S), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(latency.counts)), strict=True))
        name = "tally_outbox_latency_seconds"
        family = HistogramMetricFamily(name, "from a commit in the database to Kafka's", labels=["connector"])
        family.add_metric([self._name], buckets, latency.sum_s)
        return family
