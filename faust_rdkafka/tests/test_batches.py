"""Batches, records, timers and dead letters of an app in this process, on a real broker."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from faust_apps import eventually, make_app

import faust_rdkafka
from faust_rdkafka import App, BatchSchema, RawRecord


async def test_keys_headers_and_timestamps_go_round(broker: Any, running: Any) -> None:
    source, target = broker.topic("src"), broker.topic("out")
    app = make_app(broker)
    seen: list[Any] = []

    @app.agent(app.topic(source, schema=BatchSchema()))
    async def copy(batches: Any) -> None:
        async for batch in batches:
            seen.append((batch.keys, batch.values, batch.headers, batch.timestamps, batch.offsets, batch.raw(0)))
            app.emit(target, batch.keys[0], b"fast", headers=[("a", b"1")], timestamp=1_700_000_000.123)
            await app.topic(target, key_serializer="raw", value_serializer="raw").send(
                key=batch.keys[0], value=b"faust", headers={"b": b"2"}, timestamp=1_700_000_001.5
            )

    async with running(app):
        broker.send(source, ("k", {"x": 1}), headers=[("h", b"v")], timestamp=1_600_000_000_000)
        await eventually(lambda: app.stats.outputs >= 2)
    ((keys, values, headers, timestamps, offsets, raw),) = seen
    assert (keys, values, headers, timestamps, offsets) == ([b"k"], [{"x": 1}], [[("h", b"v")]], [1.6e9], [0])
    assert (raw.topic, raw.key, raw.value, raw.offset) == (source, b"k", b'{"x":1}', 0)
    fast, slow = broker.read(target)
    assert (fast.key(), fast.value(), fast.headers()) == (b"k", b"fast", [("a", b"1")])
    assert fast.timestamp()[1] == 1_700_000_000_123
    assert (slow.key(), slow.value(), slow.headers()) == (b"k", b"faust", [("b", b"2")])
    assert slow.timestamp()[1] == 1_700_000_001_500


async def test_a_record_that_raises_becomes_a_dead_letter_and_the_others_go_on(broker: Any, running: Any) -> None:
    source, target, letters = broker.topic("src"), broker.topic("out"), broker.topic("letters")
    noted: list[tuple[RawRecord, str, BaseException]] = []

    def letter(record: RawRecord, reason: str, error: BaseException) -> Any:
        noted.append((record, reason, error))
        return letters, record.key, record.value, [("reason", reason.encode())]

    app = make_app(broker, dead_letter=letter)
    table = app.Table("sums")

    @app.agent(app.topic(source, schema=BatchSchema()))
    async def add(batches: Any) -> None:
        async for batch in batches:
            rows = table.partition(batch.partition)
            for key, value in zip(batch.keys, batch.values, strict=True):
                rows[key.decode()] = rows.get(key.decode(), 0) + value["q"]
                app.emit(target, key, b"done")
                if value["q"] == 1000:
                    raise ValueError("too much")

    broker.send(source, *[(f"k{n % 5}", {"q": 1}) for n in range(50)])
    broker.send(source, ("k1", {"q": 1000}), ("k2", b"no json"), ("k1", {"q": 1000}))
    broker.send(source, *[(f"k{n % 5}", {"q": 1}) for n in range(50)])
    async with running(app):
        await eventually(lambda: app.stats.records >= 103)
        rows = {key: table.read(key) for key in ("k0", "k1", "k2", "k3", "k4")}
    assert rows == dict.fromkeys(rows, 20)
    assert len(broker.read(target)) == 100
    found = sorted((m.value(), dict(m.headers())["reason"]) for m in broker.read(letters))
    assert found == [(b"no json", b"UNDECODABLE"), (b'{"q":1000}', b"FAILED"), (b'{"q":1000}', b"FAILED")]
    assert app.stats.dead_letters == 3
    failed = next(record for record, reason, _ in noted if reason == "FAILED")
    assert (failed.topic, failed.key, failed.value) == (source, b"k1", b'{"q":1000}')


async def test_a_single_record_agent_works_in_the_same_transactions(broker: Any, running: Any) -> None:
    source, target, letters = broker.topic("src"), broker.topic("out"), broker.topic("letters")
    app = make_app(broker, dead_letter=lambda record, reason, error: (letters, record.key, record.value, []))
    table = app.Table("sums", default=int)
    outcomes = app.topic(target, value_serializer="json", key_serializer="raw")

    @app.agent(app.topic(source, value_serializer="json", key_serializer="raw"), sink=[outcomes])
    async def add(stream: Any) -> Any:
        async for event in stream.events():
            if event.value < 0:
                raise ValueError("negative")
            table[event.key.decode()] += event.value
            yield {"total": table[event.key.decode()], "header": event.headers["h"].decode()}

    broker.send(source, *[("a", n) for n in (1, 2, -5, 3)], ("a", b"{"), headers=[("h", b"v")])
    async with running(app):
        await eventually(lambda: app.stats.records >= 5)
    totals = sorted((orjson.loads(m.value()) for m in broker.read(target)), key=lambda outcome: outcome["total"])
    assert totals == [{"total": total, "header": "v"} for total in (1, 3, 6)]
    assert sorted(m.value() for m in broker.read(letters)) == [b"-5", b"{"]
    assert broker.table(f"{app.conf.id}-sums-changelog").popitem()[1] == 6


async def test_without_a_hook_a_bad_record_ends_the_worker_and_moves_nothing(broker: Any, running: Any) -> None:
    source = broker.topic("src")
    ended: asyncio.Queue[BaseException | None] = asyncio.Queue()

    class Ends(App):
        def fatal(self, error: BaseException | None) -> None:
            ended.put_nowait(error)

    app = Ends(broker.name("app"), broker=broker.url, instance="0", web_enabled=False)

    @app.agent(app.topic(source, schema=BatchSchema()))
    async def look(batches: Any) -> None:
        async for _ in batches:
            pass

    broker.send(source, ("k", b"no json"))
    async with running(app):
        error = await asyncio.wait_for(ended.get(), 20)
    assert isinstance(error, faust_rdkafka.NoDeadLetter)
    assert broker.committed(app.conf.id, source) == 0


async def test_readers_see_committed_rows_only(broker: Any, running: Any) -> None:
    source = broker.topic("src")
    app = make_app(broker)
    table = app.Table("rows")
    written, go_on = asyncio.Event(), asyncio.Event()
    commits: list[Any] = []
    app.on_commit(lambda *change: commits.append(change))

    @app.agent(app.topic(source, schema=BatchSchema()))
    async def write(batches: Any) -> None:
        async for batch in batches:
            table.partition(batch.partition)["k"] = batch.values[-1]
            written.set()
            await go_on.wait()

    async with running(app):
        broker.send(source, ("k", 1))
        await asyncio.wait_for(written.wait(), 20)
        assert table.read("k") is None
        assert table.read("k", latest=True) == 1
        go_on.set()
        await eventually(lambda: commits)
        ((name, number, keys),) = commits
        assert (name, keys) == ("rows", ["k"])
        view = table.committed(number)
        assert (table.read("k"), view["k"], list(view.prefix("k")), view.changelog_offset) == (1, 1, [("k", 1)], 0)
        written.clear()
        go_on.clear()
        broker.send(source, ("k", 2))
        await asyncio.wait_for(written.wait(), 20)
        assert (view["k"], table.read("k", latest=True), list(view.items())) == (1, 2, [("k", 1)])
        go_on.set()
        await eventually(lambda: table.read("k") == 2)
    assert [m.value() for m in broker.read(f"{app.conf.id}-rows-changelog")] == [b"1", b"2"]


async def test_tables_come_back_after_a_restart_with_deletions(broker: Any, running: Any) -> None:
    source, app_id = broker.topic("src"), broker.name("app")

    def make() -> tuple[App, Any]:
        app = App(app_id, broker=broker.url, instance="0", web_enabled=False)
        table = app.Table("rows")

        @app.agent(app.topic(source, schema=BatchSchema()))
        async def write(batches: Any) -> None:
            async for batch in batches:
                rows = table.partition(batch.partition)
                for key, value in zip(batch.keys, batch.values, strict=True):
                    if value["delete"]:
                        rows.pop(key.decode(), None)
                    else:
                        rows[key.decode()] = value

        return app, table

    broker.send(source, *[(f"k{n}", {"delete": False, "n": n}) for n in range(500)])
    first, _ = make()
    async with running(first):
        await eventually(lambda: first.stats.records >= 500)
        broker.send(source, *[(f"k{n}", {"delete": True}) for n in range(100)])
        await eventually(lambda: first.stats.records >= 600)
    second, table = make()
    async with running(second):
        assert sum(len(table.committed(number)) for number in range(4)) == 400
        assert table.read("k99") is None
        assert table.read("k100") == {"delete": False, "n": 100}
        assert second.stats.restore_records >= 400
        assert second.stats.records == 0


async def test_a_batch_timer_writes_in_transactions_of_its_own(broker: Any, running: Any) -> None:
    source, target = broker.topic("src"), broker.topic("out")
    app = make_app(broker)
    table = app.Table("ticks")
    runs: list[int] = []

    @app.agent(app.topic(source, schema=BatchSchema()))
    async def look(batches: Any) -> None:
        async for _ in batches:
            pass

    @app.batch_timer(0.02)
    async def tick() -> None:
        runs.append(len(runs))
        if len(runs) <= 3:
            rows = table.partition(0)
            rows["n"] = rows.get("n", 0) + 1
            app.emit(target, b"tick", str(rows["n"]).encode())

    async with running(app):
        await eventually(lambda: len(runs) > 6)
        assert table.read("n") == 3
    assert [m.value() for m in broker.read(target)] == [b"1", b"2", b"3"]
    assert app.stats.timer_batches == 3  # those that wrote nothing were no transactions


async def test_positions_reach_the_end_offsets_past_transaction_markers(broker: Any, running: Any) -> None:
    source, middle = broker.topic("src"), broker.topic("middle")
    app = make_app(broker)

    @app.agent(app.topic(source, schema=BatchSchema()))
    async def forward(batches: Any) -> None:
        async for batch in batches:
            for key in batch.keys:
                app.emit(middle, key, b"1")

    @app.agent(app.topic(middle, schema=BatchSchema()))
    async def look(batches: Any) -> None:
        async for _ in batches:
            pass

    async with running(app):
        broker.send(source, *[(f"k{n}", n) for n in range(40)])
        await eventually(lambda: app.stats.records >= 80)
        ends = await app.consumer.end_offsets(app.consumer.assignment())
        assert sum(end for tp, end in ends.items() if tp.topic == middle) > 40  # markers lie behind the records
        await eventually(lambda: all(app.consumer.position(tp) >= end for tp, end in ends.items()))


async def test_what_is_sent_outside_of_batches_goes_out_too(broker: Any, running: Any) -> None:
    source, target = broker.topic("src"), broker.topic("out")
    app = make_app(broker)

    @app.agent(app.topic(source, schema=BatchSchema()))
    async def look(batches: Any) -> None:
        async for _ in batches:
            pass

    async with running(app):
        app.emit(target, b"k", b"v")
        await eventually(lambda: app.stats.outputs == 1)
    assert [m.value() for m in broker.read(target)] == [b"v"]


async def test_batches_keep_their_bounds_and_lose_nothing(broker: Any, running: Any) -> None:
    source = broker.topic("src")
    app = make_app(broker, batch_records_max=7, batch_bytes_max=1000)
    seen: list[tuple[int, int]] = []
    values: list[int] = []

    @app.agent(app.topic(source, schema=BatchSchema()))
    async def look(batches: Any) -> None:
        async for batch in batches:
            seen.append((len(batch), sum(len(orjson.dumps(v)) for v in batch)))
            values.extend(v["n"] for v in batch)

    broker.send(source, *[(f"k{n}", {"n": n, "pad": "x" * (n % 400)}) for n in range(400)])
    async with running(app):
        await eventually(lambda: app.stats.records >= 400)
    assert sorted(values) == list(range(400))
    assert max(count for count, _ in seen) <= 7
    assert max(size for _, size in seen) <= 1000


@pytest.mark.parametrize("linger_ms", [0, 30])
async def test_a_lonely_record_is_taken_within_its_linger(broker: Any, running: Any, linger_ms: float) -> None:
    source = broker.topic("src")
    app = make_app(broker, batch_linger_ms=linger_ms)
    taken = asyncio.Event()

    @app.agent(app.topic(source, schema=BatchSchema()))
    async def look(batches: Any) -> None:
        async for _ in batches:
            taken.set()

    async with running(app):
        broker.send(source, ("k", 1))
        await asyncio.wait_for(taken.wait(), 5)


async def test_what_raises_within_a_savepoint_is_undone_and_the_batch_goes_on(broker: Any, running: Any) -> None:
    source, target = broker.topic("src"), broker.topic("out")
    app = make_app(broker)
    table = app.Table("sums")

    @app.agent(app.topic(source, schema=BatchSchema()))
    async def add(batches: Any) -> None:
        async for batch in batches:
            rows = table.partition(batch.partition)
            for key, value in zip(batch.keys, batch.values, strict=True):
                try:
                    with app.savepoint():
                        rows[key.decode()] = rows.get(key.decode(), 0) + value
                        app.emit(target, key, b"done")
                        if value == 1000:
                            raise ValueError("too much")
                except ValueError:
                    app.emit(target, key, b"undone")

    broker.send(source, *[("k", value) for value in (1, 1000, 2)])
    async with running(app):
        await eventually(lambda: app.stats.records >= 3)
        assert table.read("k") == 3
    assert [record.value() for record in broker.read(target)] == [b"done", b"undone", b"done"]


async def test_a_held_partition_is_read_no_further_until_it_is_let_go(broker: Any, running: Any) -> None:
    held, read = broker.topic("held"), broker.topic("read")
    app = make_app(broker)
    seen: list[tuple[str, Any]] = []

    @app.agent(app.topic(held, read, schema=BatchSchema()))
    async def note(batches: Any) -> None:
        async for batch in batches:
            seen.extend((batch.topic, value) for value in batch.values)

    async with running(app):
        places = {tp for tp in app.consumer.assignment() if tp.topic == held}
        app.hold(places)
        await eventually(lambda: app.consumer.fetcher.held == places)
        broker.send(held, ("k", 1))
        broker.send(read, ("k", 2))
        await eventually(lambda: (read, 2) in seen)
        assert (held, 1) not in seen
        app.hold(())
        await eventually(lambda: (held, 1) in seen)
