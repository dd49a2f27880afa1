"""What a worker says about itself."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

from faust.types import TP
from faust_rdkafka.watching import lag, line

from faust_rdkafka import App, BatchSchema, Lag, Stats


def test_lag_is_what_lies_between_positions_and_known_ends() -> None:
    a, b, unknown = TP("t", 0), TP("t", 1), TP("t", 2)
    found = lag({a: 5, b: 9, unknown: 3}, {a: 8, b: 9, unknown: -1001}, {a: time.time() - 60, b: 0.0})
    assert found.records == 3
    assert 60 <= found.seconds < 90


def test_a_worker_without_work_has_no_lag() -> None:
    assert lag({TP("t", 0): 5}, {TP("t", 0): 5}, {TP("t", 0): 1.0}) == Lag(0, 0.0)


def test_the_line_names_every_stage() -> None:
    text = line("shop-0", True, 4, Lag(7, 1.5), Stats(batches=2, records=10, batch_records_largest=8))
    assert "ready, 4 partitions, lag 7 records 1.5 s, 10 records in 2 batches (mean 5, largest 8)" in text
    assert all(stage in text for stage in ("fetch", "decode", "agent", "produce", "commit"))
    assert "\n" not in text


async def test_lag_grows_while_a_batch_is_in_work_and_goes_to_nothing(broker: Any, running: Any) -> None:
    source = broker.topic("src", 1)
    app = App(broker.name("app"), broker=broker.url, instance="0", web_enabled=False, batch_records_max=10)
    entered, go_on = asyncio.Event(), asyncio.Event()

    @app.agent(app.topic(source, schema=BatchSchema()))
    async def wait(batches: Any) -> None:
        async for _ in batches:
            entered.set()
            await go_on.wait()

    broker.send(source, *[("k", n) for n in range(50)])
    async with running(app):
        await asyncio.wait_for(entered.wait(), 20)
        async with asyncio.timeout(20):
            while app.lag().records != 50:  # noqa: ASYNC110  nothing here signals
                await asyncio.sleep(0.01)
        go_on.set()
        async with asyncio.timeout(20):
            while app.lag().records:  # noqa: ASYNC110  nothing here signals
                await asyncio.sleep(0.01)
        assert app.lag() == Lag(0, 0.0)
        assert app.stats.batch_records_largest == 10
        assert app.stats.decode_s > 0


def test_a_worker_says_its_line_when_it_is_asked(broker: Any, workers: Any, until: Any, tmp_path: Path) -> None:
    app, source, target = broker.name("fold"), broker.topic("src"), broker.topic("out")
    broker.send(source, *[(f"k{n}", {"n": n, "quantity": 1}) for n in range(40)])
    process = workers.start(app=app, src=source, out=target)
    until(lambda: broker.committed(app, source) == 40)
    process.send_signal(signal.SIGUSR1)
    until(lambda: f"{app}-0: ready, 4 partitions, lag 0 records" in (tmp_path / "workers.log").read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
