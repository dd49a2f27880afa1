"""Figures of what lies in the tables, taken between two batches."""

from __future__ import annotations

import time
from collections.abc import Sequence

from connectors.outbox.metrics import Metrics
from connectors.outbox.polling.claims import Claims

_EVERY_S = 5.0


class Watch:
    """Fills the gauges and the rate; raises psycopg.Error."""

    def __init__(self, tables: Sequence[Claims], metrics: Metrics) -> None:
        self._tables, self._metrics = tables, metrics
        self._looked_at, self._rows = time.monotonic(), metrics.rows_total
        self._next_at = 0.0

    def serve(self) -> None:
        """Does what is due by now."""
        now = time.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + _EVERY_S
        metrics, figures = self._metrics, [table.figures() for table in self._tables]
        metrics.pending_rows = sum(pending for pending, *_ in figures)
        metrics.waiting_rows = sum(waiting for _, waiting, *_ in figures)
        metrics.failed_rows = sum(failed for _, _, failed, _ in figures)
        metrics.oldest_waiting_us = min((oldest for *_, oldest in figures if oldest is not None), default=0)
        metrics.rows_per_second = (metrics.rows_total - self._rows) / max(now - self._looked_at, _EVERY_S)
        self._looked_at, self._rows = now, metrics.rows_total
