"""What the connector counts: plain numbers that one thread writes and any thread may read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

LATENCY_BOUNDS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(slots=True)
class Latency:
    """Seconds from a database commit to the Kafka commit that published it: one figure a batch, that of its oldest transaction."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))
    sum_s: float = 0.0
    last_s: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        self.sum_s += seconds
        self.last_s = seconds


@dataclass(slots=True)
class Metrics:
    """Counters (`*_total`) and gauges of one connector; `ready` is true while it streams."""

    state: str = "STARTING"
    ready: bool = False
    rows_total: int = 0
    bytes_total: int = 0
    transactions_total: int = 0
    batches_total: int = 0
    commit_seconds_total: float = 0.0
    dead_letters_total: int = 0
    mended_total: int = 0
    failed_rows: int = 0
    waiting_rows: int = 0
    waiting_full: bool = False
    skipped_operations_total: int = 0
    aborts_total: int = 0
    reconnects_total: int = 0
    stored_position: int = 0
    confirmed_position: int = 0
    server_position: int = 0
    latency: Latency = field(default_factory=Latency)

    @property
    def lag_bytes(self) -> int:
        """Log that the server has told us of and that is not stored yet."""
        return max(0, self.server_position - self.stored_position)

    def samples(self) -> Iterator[tuple[str, str, float]]:
        """(name, "counter" or "gauge", value) of every figure, for a page of metrics."""
        for name in _COUNTERS:
            yield f"tally_outbox_{name}", "counter", float(getattr(self, name))
        yield "tally_outbox_ready", "gauge", float(self.ready)
        yield "tally_outbox_failed_rows", "gauge", float(self.failed_rows)
        yield "tally_outbox_waiting_rows", "gauge", float(self.waiting_rows)
        yield "tally_outbox_waiting_full", "gauge", float(self.waiting_full)
        yield "tally_outbox_lag_bytes", "gauge", float(self.lag_bytes)
        yield "tally_outbox_stored_position_bytes", "gauge", float(self.stored_position)
        yield "tally_outbox_confirmed_position_bytes", "gauge", float(self.confirmed_position)
        yield "tally_outbox_latency_last_seconds", "gauge", self.latency.last_s
        yield "tally_outbox_latency_seconds_sum", "counter", self.latency.sum_s
        yield "tally_outbox_latency_seconds_count", "counter", float(sum(self.latency.counts))


_COUNTERS = (
    "rows_total",
    "bytes_total",
    "transactions_total",
    "batches_total",
    "commit_seconds_total",
    "dead_letters_total",
    "mended_total",
    "skipped_operations_total",
    "aborts_total",
    "reconnects_total",
)
