"""What the connector counts: plain numbers that one thread writes and any thread may read."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

# wal_status as a figure that an alarm can compare: from 2 on the slot is about to be lost.
WAL_STATUS = {"reserved": 0.0, "extended": 1.0, "unreserved": 2.0, "lost": 3.0}
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


@dataclass(frozen=True, slots=True)
class SlotFigures:
    """The slot as the server shows it.

    `held_bytes` of log are kept from removal for it, `unconfirmed_bytes` are not confirmed yet, and `safe_wal_bytes` may
    still be written before it is lost (None: no bound).
    """

    held_bytes: float | None
    unconfirmed_bytes: float | None
    safe_wal_bytes: float | None
    wal_status: str | None


@dataclass(slots=True)
class Metrics:
    """Counters (`*_total`) and gauges of one connector; `ready` is true while it streams.

    `oldest_waiting_us` is when the oldest row on its way was committed (Unix microseconds; 0: none is); `beat_s` when the
    carrier last gave a sign (time.monotonic). `pending_rows` is counted by the polling connector alone, up to a bound.
    """

    state: str = "STARTING"
    ready: bool = False
    rows_total: int = 0
    bytes_total: int = 0
    transactions_total: int = 0
    batches_total: int = 0
    commit_seconds_total: float = 0.0
    dead_letters_total: int = 0
    mended_total: int = 0
    cleaned_total: int = 0
    republished_total: int = 0
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
    oldest_waiting_us: int = 0
    rows_per_second: float = 0.0
    transactions_per_second: float = 0.0
    slot: SlotFigures | None = None
    pending_rows: int | None = None
    beat_s: float = field(default_factory=time.monotonic)

    @property
    def lag_bytes(self) -> int:
        """Log that the server has told us of and that is not stored yet."""
        return max(0, self.server_position - self.stored_position)

    @property
    def oldest_waiting_s(self) -> float:
        """Age of the oldest committed row that has come and is not published yet; 0 when there is none."""
        since_us = self.oldest_waiting_us
        return max(0.0, time.time() - since_us / 1_000_000) if since_us else 0.0

    def beat(self) -> None:
        """The carrier goes on."""
        self.beat_s = time.monotonic()

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
        yield "tally_outbox_oldest_unpublished_seconds", "gauge", self.oldest_waiting_s
        yield "tally_outbox_rows_per_second", "gauge", self.rows_per_second
        yield "tally_outbox_transactions_per_second", "gauge", self.transactions_per_second
        if self.pending_rows is not None:
            yield "tally_outbox_pending_rows", "gauge", float(self.pending_rows)
        if (slot := self.slot) is not None:
            yield "tally_outbox_slot_wal_status", "gauge", WAL_STATUS.get(slot.wal_status or "", -1.0)
            for name, figure in (
                ("held", slot.held_bytes),
                ("unconfirmed", slot.unconfirmed_bytes),
                ("safe_wal", slot.safe_wal_bytes),
            ):
                if figure is not None:
                    yield f"tally_outbox_slot_{name}_bytes", "gauge", figure


_COUNTERS = (
    "rows_total",
    "bytes_total",
    "transactions_total",
    "batches_total",
    "commit_seconds_total",
    "dead_letters_total",
    "mended_total",
    "cleaned_total",
    "republished_total",
    "skipped_operations_total",
    "aborts_total",
    "reconnects_total",
)
