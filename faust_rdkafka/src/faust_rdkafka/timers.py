"""Batch timers: what is called between batches, and the mark that its sends belong to it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from .producer import in_batch_timer


class BatchTimer:
    """A coroutine function that is due every `interval_s` seconds, counted from the end of its last run, or sooner when
    it is `hastened`."""

    def __init__(self, interval_s: float, function: Callable[[], Awaitable[object]]) -> None:
        self.interval_s = interval_s
        self.function = function
        self.due = 0.0
        self.hastened = False

    def is_due(self) -> bool:
        return self.hastened or self.due <= time.monotonic()

    async def run(self) -> None:
        self.hastened = False
        with timer_context():
            await self.function()
        self.due = time.monotonic() + self.interval_s


@contextmanager
def timer_context() -> Iterator[None]:
    token = in_batch_timer.set(True)
    try:
        yield
    finally:
        in_batch_timer.reset(token)
