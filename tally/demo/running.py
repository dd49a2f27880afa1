"""One run of the demo against a system that is up: stock the shop, play the invoices, audit the books."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tally import endpoints
from tally.audit.collecting import Sources
from tally.audit.running import audit
from tally.demo import receipts
from tally.demo.dataset import DataSet
from tally.demo.ledger import Ledger
from tally.demo.live import LiveLine
from tally.demo.plan import OrderAct, classify
from tally.demo.player import Pace, Player
from tally.demo.shop import Shop
from tally.demo.summary import Played
from tally.demo.watcher import Watcher

RECEIVED_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Running:
    """The system under the demo; `began_s` is the monotonic moment at which the user's command began."""

    sources: Sources
    api_url: str
    endpoints_file: Path
    began_s: float

    def pids(self) -> dict[str, int]:
        """Process ids by name, as the supervisor last announced them."""
        found = endpoints.read(self.endpoints_file).get("pids")
        return {str(name): int(pid) for name, pid in found.items()} if isinstance(found, dict) else {}


async def play(running: Running, data: DataSet, rate: float | None) -> Played:
    """Plays the whole data set. Raises Unreachable, NotServed, SourceUnreachable and httpx.TransportError."""
    ledger, kafka = Ledger(), running.sources.kafka
    acts = list(classify(data.invoices))
    orders = sum(isinstance(act, OrderAct) for act in acts)
    async with Shop(running.api_url, ledger) as shop:
        player = Player(shop, ledger, Pace(rate, orders), lambda line: live.tell(line))
        live = LiveLine(ledger, lambda: (player.progress, len(acts)))
        with Watcher(kafka, ledger, asyncio.get_running_loop()):
            async with _in_background(live, kafka, lambda: [os.getpid(), *running.pids().values()]):
                began_s = time.monotonic()
                await _receive(ledger, kafka, data.receipts)
                received_s = time.monotonic() - began_s
                live.tell(f"{len(data.receipts):,} SKUs received within {received_s:.1f} s; orders begin")
                await live.settle(kafka)
                began_s = time.monotonic()
                await player.play(acts)
                played_s = time.monotonic() - began_s
                live.tell(f"{len(acts):,} invoices played within {played_s:.1f} s; auditing")
                report = await asyncio.to_thread(audit, running.sources)
    first_s = min((seen.confirmed_at_s for seen in ledger.orders.values() if seen.confirmed_at_s), default=None)
    return Played(
        ledger=ledger,
        audit=report,
        invoices=len(acts),
        receipts=len(data.receipts),
        received_within_s=received_s,
        played_within_s=played_s,
        first_confirmed_after_s=None if first_s is None else round(first_s - running.began_s, 1),
        peak_bytes=live.peak_bytes,
        worker_pid=running.pids().get("worker-0", 0),
        plentiful_sku=max(data.receipts, key=lambda sku: data.receipts[sku]),
    )


async def _receive(ledger: Ledger, kafka: str, units_by_sku: dict[str, int]) -> None:
    """Publishes the receipts and waits until each was taken in."""
    ids = await asyncio.to_thread(receipts.publish, kafka, units_by_sku)
    deadline = time.monotonic() + RECEIVED_WITHIN_S
    while missing := len(ids - ledger.received):
        if time.monotonic() > deadline:
            ledger.troubles.append(f"{missing} receipts were not taken in within {RECEIVED_WITHIN_S:.0f} s")
            return
        ledger.changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ledger.changed.wait(), 1.0)


@asynccontextmanager
async def _in_background(live: LiveLine, kafka: str, pids: Callable[[], Iterable[int]]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(live.show()), asyncio.create_task(live.measure(kafka, pids))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
