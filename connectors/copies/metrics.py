"""What the copies count."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class CopiesMetrics:
    """Figures of the copies, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rows = Counter(
            "tally_copies_rows",
            "Rows by table and outcome: written, deleted, older, dead_lettered",
            ["table", "outcome"],
            registry=registry,
        )
        self.batches = Counter("tally_copies_batches", "Exchanges with Valkey", registry=registry)
        self.refills = Counter("tally_copies_refills", "Partitions copied again from the beginning", registry=registry)
        self.restarts = Counter(
            "tally_copies_restarts", "Times that the copies began anew, by reason", ["reason"], registry=registry
        )
        self.lag = Gauge(
            "tally_copies_lag_records", "Records not yet copied", ["topic", "partition"], registry=registry
        )
