"""How far a restore is, for people and probes: in the stats at each step, in the log every few seconds."""

from __future__ import annotations

import logging
import time

from .stats import Stats

log = logging.getLogger(__name__)

_LINE_S = 2.0


class Progress:
    """Begins when made."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._began = self._said = time.monotonic()
        stats.restoring, stats.restore_records, stats.restore_total, stats.restore_per_s = True, 0, 0, 0.0

    def read(self, count: int) -> None:
        stats, now = self._stats, time.monotonic()
        stats.restore_records += count
        stats.restore_per_s = stats.restore_records / max(now - self._began, 1e-3)
        if now - self._said >= _LINE_S:
            self._said = now
            log.info(
                "restoring tables: %d of %d changelog records, %d a second",
                stats.restore_records,
                stats.restore_total,
                stats.restore_per_s,
            )

    def end(self, partitions: int) -> None:
        took_s = time.monotonic() - self._began
        self._stats.restoring = False
        self._stats.restore_s += took_s
        log.info(
            "restored %d changelog records of %d table partitions in %.2f s",
            self._stats.restore_records,
            partitions,
            took_s,
        )
