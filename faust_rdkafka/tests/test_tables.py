"""Tables of an app on a real broker, by store: versions, checksums, handing over, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faust_rdkafka import App, BatchSchema, Misconfigured, TransportError


async def eventually(condition: Callable[[], Any], within_s: float = 20.0) -> Any:
    """The first true answer; for what other threads or the broker bring about."""
    async with asyncio.timeout(within_s):
        while not (answer := condition()):  # noqa: ASYNC110  nothing here signals
            await asyncio.sleep(0.01)
        return answer


def make_app(broker: Any, name: str, data: Path, store: str = "memory://", **options: Any) -> App:
    return App(name, broker=broker.url, instance="0", web_enabled=False, store=store, datadir=data, **options)


def counting(app: App, source: str, *tables: Any) -> None:
    @app.agent(app.topic(source, schema=BatchSchema()))
    async def count(batches: Any) -> None:
        async for batch in batches:
            for table in tables:
                rows = table.partition(batch.partition)
                for key, value in zip(batch.keys, batch.values, strict=True):
                    if value is None:
                        rows.pop(key.decode(), None)
                    else:
                        rows[key.decode()] = rows.get(key.decode(), 0) + value


async def checksums(table: Any) -> list[Any]:
    return [await table.checksum(number) for number in sorted(table.partitions_owned())]


@pytest.mark.parametrize("store", ["memory://", "rocksdb://"])
async def test_rows_are_there_again_after_a_restart(broker: Any, running: Any, tmp_path: Path, store: str) -> None:
    source, name = broker.topic("src"), broker.name("app")
    broker.send(source, *[(f"k{n % 50}", n) for n in range(500)])
    restored = []
    for more in (2, 3):
        app = make_app(broker, name, tmp_path, store)
        table = app.Table("counts")
        counting(app, source, table)
        async with running(app):
            restored.append(app.stats.restore_records)
            broker.send(source, ("k1", more))
            total = sum(range(500)) + (2 if more == 2 else 5)
            await eventually(lambda table=table, total=total: sum(table.values()) == total)
            assert sum(len(table.committed(number)) for number in table.partitions_owned()) == 50
            noted = [table.snapshot(number) for number in table.partitions_owned()]
            broker.send(source, ("k1", 1), ("k1", -1), ("new", 7), ("new", None))
            await eventually(lambda app=app: app.stats.records >= 505 or app.lag().records == 0)
            assert sum(row for pairs in noted for _, row in pairs) == total
    assert restored[0] == 0
    assert restored[1] == 0 if store == "rocksdb://" else restored[1] >= 50


async def test_the_checksum_of_a_partition_is_the_same_in_every_store_and_version(
    broker: Any, running: Any, tmp_path: Path
) -> None:
    source = broker.topic("src")
    app = make_app(broker, broker.name("app"), tmp_path)
    first = app.Table("counts")
    second = app.Table("counts", version=2, store="rocksdb://")
    counting(app, source, first, second)
    broker.send(source, *[(f"k{n % 50}", n) for n in range(500)], ("k7", None))
    async with running(app):
        await eventually(lambda: app.stats.records >= 501)
        old, new = await checksums(first), await checksums(second)
        assert all(a.same_rows(b) for a, b in zip(old, new, strict=True))
        assert sum(found.rows for found in new) == 49
        broker.send(source, ("k1", 1))
        await eventually(lambda: app.stats.records >= 502)
        assert sum(a != b for a, b in zip(old, await checksums(first), strict=True)) == 1
    assert first.changelog_topic_name.endswith("-counts-changelog")
    assert second.changelog_topic_name.endswith("-counts-v2-changelog")
    assert broker.table(first.changelog_topic_name) == broker.table(second.changelog_topic_name)


def test_a_store_of_an_unknown_kind_and_a_version_below_one_are_refused(broker: Any, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="neither"):
        make_app(broker, "app", tmp_path, "sqlite://").Table("counts")
    with pytest.raises(Misconfigured, match="below 1"):
        make_app(broker, "app", tmp_path).Table("counts", version=0)


async def test_a_table_comes_and_goes_while_the_app_runs(broker: Any, running: Any, tmp_path: Path) -> None:
    source = broker.topic("src")
    app = make_app(broker, broker.name("app"), tmp_path, "rocksdb://")
    tables = [app.Table("counts")]
    counting(app, source, tables[0])

    @app.agent(app.topic(source, schema=BatchSchema()), name="others")
    async def count_others(batches: Any) -> None:
        async for batch in batches:
            for table in tables[1:]:
                rows = table.partition(batch.partition)
                rows["sum"] = rows.get("sum", 0) + sum(batch.values)

    async with running(app):
        broker.send(source, ("a", 1))
        await eventually(lambda: sum(tables[0].values()) == 1)
        table = await app.begin_table("counts", version=2)
        assert table.partitions_owned() == tables[0].partitions_owned()
        tables.append(table)
        broker.send(source, ("a", 2), ("b", 4))
        await eventually(lambda: sum(table.values()) == 6)
        assert sorted(pair[0] for n in range(4) for pair in table.snapshot_bytes(n)) == [b"sum"] * len(table)
        folder = app.tables.stores.folder(table.name)
        assert folder.is_dir()
        tables.pop()
        await app.end_table(table, remove=True)
        assert not folder.exists()
        broker.send(source, ("a", 8))
        await eventually(lambda: sum(tables[0].values()) == 15)
        # It comes again as its changelog has it.
        again = await app.begin_table("counts", version=2)
        assert sum(again.values()) == 6
    with pytest.raises(TransportError, match="after the app started"):
        app.Table("late")


@pytest.mark.parametrize("store", ["memory://", "rocksdb://"])
async def test_staged_rows_are_committed_as_they_are_and_seen_after_that(
    broker: Any, running: Any, tmp_path: Path, store: str
) -> None:
    source = broker.topic("src")
    app = make_app(broker, broker.name("app"), tmp_path, store)
    table = app.Table("counts")
    counting(app, source, table)
    told, staged = [], []
    app.on_commit(lambda name, number, keys: told.append((number, sorted(keys))))

    async def tick() -> None:
        if staged:
            table.stage(*staged.pop())

    app.batch_timer(3_600)(tick)
    async with running(app):
        broker.send(source, ("a", 1))
        await eventually(lambda: table.read("a") == 1)
        home = next(number for number in table.partitions_owned() if "a" in table.committed(number))
        assert table.committed_bytes(home, [b"a", b"b"]) == [b"1", None]
        told.clear()
        staged.append((home, [(b"a", b"5"), (b"b", b"6")], 1))
        app.hasten(tick)
        await eventually(lambda: told == [(home, ["a", "b"])])
        assert table.committed_bytes(home, [b"a", b"b"]) == [b"5", b"6"]
        assert (table.read("a"), table.read("b"), len(table.committed(home))) == (5, 6, 2)
        logged = broker.table_of_bytes(table.changelog_topic_name)
        assert logged == {(home, b"a"): b"5", (home, b"b"): b"6"}
        broker.send(source, ("a", 2))
        await eventually(lambda: table.read("a") == 7)
        assert (await table.checksum(home)).rows == 2


async def test_a_hastened_timer_is_due_at_once(broker: Any, running: Any, tmp_path: Path) -> None:
    app = make_app(broker, broker.name("app"), tmp_path)
    counting(app, broker.topic("src"), app.Table("counts"))
    ran = []

    async def tick() -> None:
        ran.append(len(ran))
        if len(ran) < 5:
            app.hasten(tick)

    app.batch_timer(3_600)(tick)
    async with running(app):
        await eventually(lambda: len(ran) == 5)
        app.hasten(tick)
        await eventually(lambda: len(ran) == 6)


async def test_a_method_is_hastened_under_whatever_object_it_is_named(
    broker: Any, running: Any, tmp_path: Path
) -> None:
    app = make_app(broker, broker.name("app"), tmp_path)
    counting(app, broker.topic("src"), app.Table("counts"))

    class Clock:
        ticks = 0

        async def tick(self) -> None:
            self.ticks += 1
            if self.ticks < 5:
                app.hasten(self.tick)

    clock = Clock()
    app.batch_timer(3_600)(clock.tick)
    async with running(app):
        await eventually(lambda: clock.ticks == 5)
