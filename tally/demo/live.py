"""The live line: what happens while it happens, on stderr; redrawn on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from confluent_kafka import KafkaException
from rich.console import Console
from rich.live import Live
from rich.text import Text

from tally.demo.ledger import Ledger
from tally.demo.memory import used_bytes
from tally.reading.groups import lags
from tally.reading.reader import Unreachable

REDRAWN_EVERY_S = 0.5
LINE_EVERY_S = 4.0
# Asking for lag and memory costs the machine something; the figures are for the eye.
ASKED_EVERY_S = 5.0
SETTLED_WITHIN_S = 5.0
SETTLE_PAUSE_S = 0.2


class LiveLine:
    """Shows progress until cancelled; `peak_bytes` is the most memory that was seen."""

    def __init__(self, ledger: Ledger, progress: Callable[[], tuple[int, int]]) -> None:
        self._ledger, self._progress = ledger, progress
        self._console = Console(stderr=True, highlight=False)
        self._began_s = time.monotonic()
        self._lag: int | None = None
        self._ended = [(self._began_s, 0)]
        self.peak_bytes = 0

    def tell(self, line: str) -> None:
        """Says something that happened, above the live line."""
        self._console.print(f"{time.monotonic() - self._began_s:6.1f} s  {line}", soft_wrap=True, markup=False)

    async def show(self) -> None:
        """Draws until cancelled."""
        if not self._console.is_terminal:
            while True:
                await asyncio.sleep(LINE_EVERY_S)
                self.tell(self._line())
        with Live(console=self._console, refresh_per_second=1 / REDRAWN_EVERY_S, transient=True) as live:
            while True:
                live.update(Text(self._line()))
                await asyncio.sleep(REDRAWN_EVERY_S)

    async def measure(self, bootstrap: str, pids: Callable[[], Iterable[int]]) -> None:
        """Asks for lag and memory now and then, until cancelled."""
        while True:
            self.peak_bytes = max(self.peak_bytes, await asyncio.to_thread(lambda: used_bytes(pids())))
            self._lag = await asyncio.to_thread(_lag, bootstrap)
            await asyncio.sleep(ASKED_EVERY_S)

    async def settle(self, bootstrap: str) -> None:
        """Waits a little until what was sent has been read everywhere, so that what is measured next starts level."""
        for _ in range(round(SETTLED_WITHIN_S / SETTLE_PAUSE_S)):
            if await asyncio.to_thread(_lag, bootstrap) == 0:
                return
            await asyncio.sleep(SETTLE_PAUSE_S)

    def _line(self) -> str:
        done, total = self._progress()
        statuses = self._ledger.statuses
        rate = self._rate(statuses.total() - statuses["CREATED"])
        parts = [
            f"{done:,} of {total:,} invoices",
            f"confirmed {statuses['CONFIRMED'] + statuses['SHIPPED']:,}",
            f"rejected {statuses['REJECTED']:,}",
            f"cancelled {statuses['CANCELLED']:,}",
            f"in flight {statuses['CREATED']:,}",
            f"{rate:.0f} orders/s",
            "lag ?" if self._lag is None else f"lag {self._lag:,}",
        ]
        return " · ".join(parts)

    def _rate(self, ended: int) -> float:
        """Orders ended per second over the last seconds."""
        now_s = time.monotonic()
        self._ended = [seen for seen in self._ended if now_s - seen[0] < 2 * LINE_EVERY_S] or self._ended[-1:]
        first_s, first = self._ended[0]
        self._ended.append((now_s, ended))
        return max(ended - first, 0) / max(now_s - first_s, 0.001)


def _lag(bootstrap: str) -> int | None:
    """Records that all groups together have still to read; None when it cannot be told just now."""
    try:
        return sum(lag.lag for lag in lags(bootstrap))
    except (Unreachable, KafkaException):
        return None
