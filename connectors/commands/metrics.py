"""What the command sink counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class SinkMetrics:
    """Figures of one sink, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.commands = Counter(
            "tally_sink_commands", "Commands by outcome: done, parked, dead_lettered", ["outcome"], registry=registry
        )
        self.batches = Counter("tally_sink_batches", "Database transactions with commands", registry=registry)
        self.batch_seconds = Histogram("tally_sink_batch_seconds", "Duration of a batch", registry=registry)
        self.restarts = Counter(
            "tally_sink_restarts", "Times that positions were read anew, by reason", ["reason"], registry=registry
        )
        self.parked_rows = Gauge("tally_sink_parked_commands", "Commands that wait for their key", registry=registry)
        self.paused = Gauge(
            "tally_sink_paused", "1 while as many commands wait as may wait and no others are read", registry=registry
        )
        self.lag = Gauge("tally_sink_lag_records", "Records not yet worked", ["topic", "partition"], registry=registry)
