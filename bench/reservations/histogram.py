"""Milliseconds by tenths: counting costs the same for an hour as for a second, and no sorting stops the threads."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import accumulate

TENTHS_MAX = 100_000  # ten seconds; what took longer counts as that


class Histogram:
    def __init__(self, counts: array[int] | None = None) -> None:
        self._counts = array("L", bytes(8 * (TENTHS_MAX + 1))) if counts is None else counts

    def add(self, ms: float) -> None:
        self._counts[min(int(ms * 10), TENTHS_MAX)] += 1

    def share(self, share: float) -> float:
        """The milliseconds that so large a share of all took at most; 0 when there are none."""
        wanted = sum(self._counts) * share
        return next((at / 10 for at, so_far in enumerate(accumulate(self._counts)) if so_far >= wanted > 0), 0.0)

    def worst(self) -> float:
        return self.share(1.0)


def together(all_of: Iterable[Histogram]) -> Histogram:
    columns = zip(*(one._counts for one in all_of), strict=True)
    return Histogram(array("L", map(sum, columns)))
