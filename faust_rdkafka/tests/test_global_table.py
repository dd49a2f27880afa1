"""Global tables: what one worker commits, the others read, from their start and through rebalances."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faust_apps import eventually

from faust_rdkafka import App, BatchSchema, Misconfigured, partition_of

KEYS = [f"k{n}" for n in range(40)]


def make(broker: Any, name: str, source: str, instance: str) -> tuple[App, Any]:
    app = App(name, broker=broker.url, instance=instance, web_enabled=False, session_timeout_ms=6000)
    table = app.GlobalTable("prices")

    @app.agent(app.topic(source, schema=BatchSchema()))
    async def price(batches: Any) -> None:
        async for batch in batches:
            rows = table.partition(batch.partition)
            for key, value in zip(batch.keys, batch.values, strict=True):
                if value is None:
                    rows.pop(key.decode(), None)
                else:
                    rows[key.decode()] = value

    return app, table


async def test_every_worker_reads_the_rows_of_all_and_through_rebalances(broker: Any, running: Any) -> None:
    source, name = broker.topic("src"), broker.name("app")
    first, mine = make(broker, name, source, "0")
    second, theirs = make(broker, name, source, "1")
    broker.send(source, *[(key, 1) for key in KEYS])
    async with running(first):
        await eventually(lambda: len(mine) == 40)
        async with running(second):
            assert sorted(theirs) == sorted(KEYS)  # before its first record
            await eventually(lambda: len(first.consumer.assignment()) == 2 and first.ready)
            assert sorted(mine.partitions_owned() | mine.partitions_followed()) == [0, 1, 2, 3]
            broker.send(source, *[(key, 2) for key in KEYS[:39]], (KEYS[39], None))
            for table in (mine, theirs):
                await eventually(lambda table=table: table.values() == [2] * 39)
                assert table.read(KEYS[0]) == 2
                assert KEYS[39] not in table
            number = partition_of(KEYS[0].encode(), 4)
            assert mine.committed(number)[KEYS[0]] == theirs.committed(number)[KEYS[0]] == 2
        await eventually(lambda: len(mine.partitions_owned()) == 4 and first.ready)
        broker.send(source, *[(key, 3) for key in KEYS])
        await eventually(lambda: mine.values() == [3] * 40)
    assert sorted(broker.table(mine.changelog_topic_name).values()) == [3] * 40


async def test_a_row_that_is_not_committed_is_seen_by_its_own_agent_only(broker: Any, running: Any) -> None:
    source, name = broker.topic("src"), broker.name("app")
    held, go_on, seen = asyncio.Event(), asyncio.Event(), list[Any]()
    first = App(name, broker=broker.url, instance="0", web_enabled=False)
    table = first.GlobalTable("prices")

    @first.agent(first.topic(source, key_serializer="raw", value_serializer="json"))
    async def price(values: Any) -> None:
        async for event in values.events():
            table[event.key.decode()] = event.value
            seen.append((table["a"], len(table), table.read("a"), table.read("a", latest=True)))
            held.set()
            await go_on.wait()

    async with running(first):
        broker.send(source, ("a", 1))
        await asyncio.wait_for(held.wait(), 20)
        assert table.read("a") is None
        go_on.set()
        await eventually(lambda: table.read("a") == 1)
    assert seen == [(1, 1, None, 1)]


def test_a_global_table_has_no_windows(broker: Any) -> None:
    app = App("app", broker=broker.url, web_enabled=False)
    with pytest.raises(Misconfigured, match="no windows"):
        app.GlobalTable("prices").tumbling(10)
