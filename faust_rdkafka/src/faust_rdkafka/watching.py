"""What a worker says about itself: how far behind it is, and one line with the time of each stage."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from faust.types import TP

from .stats import Stats

_STAGES = ("fetch", "decode", "agent", "produce", "commit", "store", "restore")


@dataclass(frozen=True, slots=True)
class Lag:
    """Records that were fetched or seen by the broker and not committed, and the age of the newest committed one.

    `seconds` is 0 when there is nothing to do.
    """

    records: int
    seconds: float


def lag(positions: dict[TP, int], ends: dict[TP, int], newest: dict[TP, float]) -> Lag:
    """`ends`: known ends of partitions; `newest`: when the last committed record of a partition was stamped, in s."""
    behind = {tp: ends[tp] - position for tp, position in positions.items() if ends.get(tp, -1) > position}
    now = time.time()
    return Lag(sum(behind.values()), max((now - newest[tp] for tp in behind if tp in newest), default=0.0))


def line(name: str, ready: bool, partitions: int, behind: Lag, stats: Stats) -> str:
    """One line for a person; times are totals since the start."""
    counts: dict[str, Any] = stats.as_dict()
    mean = stats.records / stats.batches if stats.batches else 0.0
    spent = [f"{stage} {counts[f'{stage}_s']:.2f}" for stage in _STAGES if f"{stage}_s" in counts]
    return (
        f"{name}: {'ready' if ready else 'restoring' if stats.restoring else 'waiting for partitions'},"
        f" {partitions} partitions, lag {behind.records} records {behind.seconds:.1f} s,"
        f" {stats.records} records in {stats.batches} batches (mean {mean:.0f}, largest {stats.batch_records_largest}),"
        f" {stats.outputs} outputs, {stats.dead_letters} dead letters, {stats.aborts} aborts;"
        f" seconds: {' '.join(spent)}"
    )
