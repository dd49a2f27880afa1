"""What start-up refuses, with words that say why."""

from __future__ import annotations

import asyncio
from typing import Any

import faust
import pytest

from faust_rdkafka import App, BatchSchema, Misconfigured


def test_a_plain_app_refuses_exactly_once(broker: Any) -> None:
    app = faust.App(
        broker.name("app"), broker=broker.url, processing_guarantee="exactly_once", store="memory://", web_enabled=False
    )
    with pytest.raises(Misconfigured, match=r"faust_rdkafka\.App"):
        _ = app.consumer


async def test_a_plain_app_has_transport_and_offsets_and_says_what_it_lacks(
    broker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    source = broker.topic("src")
    app = faust.App(
        broker.name("app"), broker=broker.url, store="memory://", web_enabled=False, topic_disable_leader=True
    )
    seen: asyncio.Queue[Any] = asyncio.Queue()

    @app.agent(app.topic(source, value_serializer="json"))
    async def look(values: Any) -> None:
        async for value in values:
            seen.put_nowait(value)

    app.finalize()
    await app.start()
    try:
        broker.send(source, ("k", {"n": 1}))
        assert await asyncio.wait_for(seen.get(), 20) == {"n": 1}
        async with asyncio.timeout(20):
            while broker.committed(app.conf.id, source) < 1:  # noqa: ASYNC110  the broker does not signal
                await asyncio.sleep(0.05)
    finally:
        await app.stop()
    assert "outside the transaction" in caplog.text


async def test_sources_of_unequal_partition_counts_are_refused_by_name(broker: Any) -> None:
    wide, narrow = broker.topic("wide", 4), broker.topic("narrow", 2)
    app = App(broker.name("app"), broker=broker.url, web_enabled=False)
    for name in (wide, narrow):

        @app.agent(app.topic(name, schema=BatchSchema()), name=name)
        async def look(batches: Any) -> None:
            async for _ in batches:
                pass

    with pytest.raises(Misconfigured, match=f"{narrow} has 2, {wide} has 4"):
        await app.consumer.check_topics([narrow, wide])


@pytest.mark.parametrize("kind", ["SetTable", "SetGlobalTable"])
def test_tables_that_are_not_of_this_transport_are_refused(broker: Any, kind: str) -> None:
    app = App(broker.name("app"), broker=broker.url, web_enabled=False)
    with pytest.raises(Misconfigured, match=f"{kind} is not supported"):
        getattr(app, kind)("t")
