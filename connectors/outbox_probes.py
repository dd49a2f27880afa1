"""The outbox connector's figures as health and metrics for the probes."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from connectors.outbox import Metrics


class OutboxHealth:
    """What the probes ask, answered from the connector's figures."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._started = False

    def why_not_live(self) -> str | None:
        """None: a connector that cannot go on ends its process."""
        return None

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
