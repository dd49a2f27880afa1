"""Faust's windowed tables over our stores: values by window, expiry by event time, and all that after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faust
import pytest

from faust_rdkafka import App, Misconfigured

T0 = 1_600_000_000


async def eventually(condition: Callable[[], Any], within_s: float = 20.0) -> Any:
    """The first true answer; for what other threads or the broker bring about."""
    async with asyncio.timeout(within_s):
        while not (answer := condition()):  # noqa: ASYNC110  nothing here signals
            await asyncio.sleep(0.01)
        return answer


class Clicks:
    """An app that counts clicks by page in windows; a record at a time."""

    def __init__(self, broker: Any, name: str, source: str, data: Path, store: str) -> None:
        self.app = App(name, broker=broker.url, instance="0", web_enabled=False, store=store, datadir=data)
        self.closed: list[Any] = []
        self.seen: list[Any] = []
        self.table = self.app.Table("clicks", default=int, on_window_close=lambda *row: self.closed.append(row))
        self.counts = self.table.hopping(10, 5, expires=60, key_index=True)

        @self.app.agent(self.app.topic(source, key_serializer="raw", value_serializer="json"))
        async def count(clicks: Any) -> None:
            async for page in clicks:
                self.counts[page] += 1
                self.seen.append((page, self.counts[page].value(), self.counts[page].delta(5)))

    def windows(self) -> dict[Any, int]:
        return {(key, start - T0): row for (key, (start, _)), row in self.table.items()}


def click(broker: Any, source: str, *pages_at: tuple[str, int]) -> None:
    for page, at_s in pages_at:
        broker.send(source, (page, page), timestamp=(T0 + at_s) * 1000)


@pytest.mark.parametrize("store", ["memory://", "rocksdb://"])
async def test_counts_by_window_expire_by_the_time_of_events(
    broker: Any, running: Any, tmp_path: Path, store: str
) -> None:
    source, name = broker.topic("src", 1), broker.name("app")
    first = Clicks(broker, name, source, tmp_path, store)
    async with running(first.app):
        click(broker, source, ("a", 1), ("a", 2), ("b", 2), ("a", 7))
        await eventually(lambda: first.app.stats.records == 4)
        assert first.seen == [("a", 1, 1), ("a", 2, 2), ("b", 1, 1), ("a", 1, 3)]
        assert first.windows() == {("a", -5): 2, ("a", 0): 3, ("b", -5): 1, ("b", 0): 1, ("a", 5): 1}
        assert sorted(first.counts.key_index_table.keys()) == ["a", "b"]
    second = Clicks(broker, name, source, tmp_path, store)
    async with running(second.app):
        click(broker, source, ("a", 72))  # 60 s later: what ended at 5 and at 10 is stale
        await eventually(lambda: second.app.stats.records == 1)
        assert second.windows() == {("a", 5): 1, ("a", 65): 1, ("a", 70): 1}
        assert sorted((key, start - T0, row) for (key, (start, _)), row in second.closed) == [
            ("a", -5, 2),
            ("a", 0, 3),
            ("b", -5, 1),
            ("b", 0, 1),
        ]
    assert len(broker.table_of_bytes(second.table.changelog_topic_name)) == 3


def test_a_coroutine_cannot_close_windows(broker: Any) -> None:
    async def close(key: Any, row: Any) -> None: ...

    app = App("app", broker=broker.url, web_enabled=False)
    with pytest.raises(Misconfigured, match="coroutine"):
        app.Table("clicks", window=faust.TumblingWindow(10), on_window_close=close)
