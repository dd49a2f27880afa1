"""What Faust offers to agents, over this transport: take, concurrency, ask, group_by, sinks."""

from __future__ import annotations

import asyncio
import collections
from typing import Any

import aiohttp
import faust
import orjson
from faust_apps import eventually, make_app

from faust_rdkafka import App, RawRecord
from tally.local.ports import free_ports


class Order(faust.Record, serializer="json"):
    sku: str
    quantity: int


async def test_take_gives_lists_and_each_record_is_committed_once(broker: Any, running: Any) -> None:
    source, target = broker.topic("src"), broker.topic("out")
    app = make_app(broker)

    @app.agent(app.topic(source, value_serializer="json", key_serializer="raw"))
    async def add(stream: Any) -> None:
        async for values in stream.take(10, within=0.2):
            app.emit(target, b"k", orjson.dumps(values))

    broker.send(source, *[("k", n) for n in range(25)])
    async with running(app):
        await eventually(lambda: app.stats.records >= 25)
        assert broker.committed(app.conf.id, source) == 25
    lists = [orjson.loads(m.value()) for m in broker.read(target)]
    assert [n for values in lists for n in values] == list(range(25))
    assert max(map(len, lists)) == 10


async def test_several_actors_of_one_agent_share_the_records_of_a_batch(broker: Any, running: Any) -> None:
    source, target = broker.topic("src"), broker.topic("out")
    app = make_app(broker)
    actors: set[Any] = set()

    @app.agent(app.topic(source, value_serializer="json", key_serializer="raw"), concurrency=3)
    async def copy(stream: Any) -> None:
        async for value in stream:
            actors.add(asyncio.current_task())
            await asyncio.sleep(0)
            app.emit(target, b"k", orjson.dumps(value))

    broker.send(source, *[(f"k{n}", n) for n in range(60)])
    async with running(app):
        await eventually(lambda: app.stats.records >= 60)
    assert sorted(orjson.loads(m.value()) for m in broker.read(target)) == list(range(60))
    assert len(actors) == 3


async def test_a_record_that_raises_in_one_of_several_actors_becomes_a_dead_letter(broker: Any, running: Any) -> None:
    source, target, letters = broker.topic("src"), broker.topic("out"), broker.topic("letters")

    def letter(record: RawRecord, reason: str, error: BaseException) -> Any:
        return letters, record.key, record.value, []

    app = make_app(broker, dead_letter=letter)

    @app.agent(app.topic(source, value_serializer="json", key_serializer="raw"), concurrency=3)
    async def copy(stream: Any) -> None:
        async for value in stream:
            if value < 0:
                raise ValueError("negative")
            app.emit(target, b"k", orjson.dumps(value))

    broker.send(source, *[("k", n) for n in (1, 2, -3, 4, 5)])
    async with running(app):
        await eventually(lambda: app.stats.records >= 5)
    assert sorted(orjson.loads(m.value()) for m in broker.read(target)) == [1, 2, 4, 5]
    assert [m.value() for m in broker.read(letters)] == [b"-3"]


async def test_an_agent_that_raises_inside_of_take_ends_the_worker_and_moves_nothing(broker: Any, running: Any) -> None:
    source, target = broker.topic("src"), broker.topic("out")
    ended: asyncio.Queue[BaseException | None] = asyncio.Queue()

    class Ends(App):
        def fatal(self, error: BaseException | None) -> None:
            ended.put_nowait(error)

    app = Ends(broker.name("app"), broker=broker.url, instance="0", web_enabled=False)

    @app.agent(app.topic(source, value_serializer="json", key_serializer="raw"))
    async def copy(stream: Any) -> None:
        async for values in stream.take(5, within=0.1):
            app.emit(target, b"k", orjson.dumps(values))
            raise ValueError("five at once")

    broker.send(source, *[("k", n) for n in range(5)])
    async with running(app):
        assert isinstance(await asyncio.wait_for(ended.get(), 20), ValueError)
    assert broker.committed(app.conf.id, source) == 0
    assert broker.read(target) == []


async def test_an_agent_answers_who_asks(broker: Any, running: Any) -> None:
    source = broker.topic("src")
    app = make_app(broker, reply_create_topic=True)

    @app.agent(app.topic(source, value_serializer="json", key_serializer="raw"))
    async def double(stream: Any) -> Any:
        async for value in stream:
            yield value * 2

    async with running(app):
        assert await asyncio.wait_for(double.ask(21), 30) == 42


async def test_a_stream_grouped_by_another_key_comes_by_that_key(broker: Any, running: Any) -> None:
    source = broker.topic("src")
    app = make_app(broker)
    seen: dict[str, set[int]] = collections.defaultdict(set)
    count = 0

    @app.agent(app.topic(source, value_serializer="json", key_serializer="raw"))
    async def regroup(stream: Any) -> None:
        nonlocal count
        async for event in stream.group_by(lambda value: value["sku"], name="sku", partitions=4).events():
            seen[event.value["sku"]].add(event.message.partition)
            count += 1

    broker.send(source, *[(f"k{n}", {"sku": f"s{n % 5}"}) for n in range(40)])
    async with running(app):
        await eventually(lambda: count >= 40)
    assert {sku: len(partitions) for sku, partitions in seen.items()} == dict.fromkeys(
        ("s0", "s1", "s2", "s3", "s4"), 1
    )


async def test_timers_tasks_and_web_pages_run_beside_the_agents(broker: Any, running: Any) -> None:
    source, target = broker.topic("src"), broker.topic("out")
    (port,) = free_ports(1)
    app = App(
        broker.name("app"), broker=broker.url, instance="0", web_port=port, web_bind="127.0.0.1", web_host="127.0.0.1"
    )
    table = app.Table("sums", default=int)
    out = app.topic(target, value_serializer="raw")
    begun, ticked = asyncio.Event(), asyncio.Event()

    @app.agent(app.topic(source, value_serializer="json", key_serializer="raw"))
    async def add(stream: Any) -> None:
        async for key, value in stream.items():
            table[key.decode()] += value

    @app.task
    async def begin() -> None:
        begun.set()

    @app.timer(0.05)
    async def tick() -> None:
        if not ticked.is_set():
            ticked.set()
            await out.send(value=b"tick")

    @app.page("/sums/")
    async def sums(web: Any, request: Any) -> Any:
        return web.json({"a": table.read("a")})

    broker.send(source, ("a", 1), ("a", 2))
    async with running(app), aiohttp.ClientSession() as session:
        await eventually(lambda: app.stats.records >= 2 and app.stats.outputs >= 1)
        async with session.get(f"http://127.0.0.1:{port}/sums/") as answer:
            assert await answer.json() == {"a": 3}
    assert begun.is_set()
    assert [m.value() for m in broker.read(target)] == [b"tick"]


async def test_models_filters_and_forwarded_events_go_in_the_batchs_transaction(broker: Any, running: Any) -> None:
    source, target = broker.topic("src"), broker.topic("out")
    app = make_app(broker)
    target_topic = app.topic(target, value_type=Order, key_serializer="raw")

    @app.agent(app.topic(source, value_type=Order, key_serializer="raw"))
    async def keep(stream: Any) -> None:
        async for event in stream.filter(lambda order: order.quantity > 1).events():
            await event.forward(target_topic, value=Order(event.value.sku, event.value.quantity * 2))

    broker.send(source, *[("k", {"sku": f"s{n}", "quantity": n}) for n in range(5)])
    async with running(app):
        await eventually(lambda: app.stats.records >= 5 and app.stats.outputs >= 3)
        assert broker.committed(app.conf.id, source) == 5
    orders = [orjson.loads(m.value()) for m in broker.read(target)]
    assert [(order["sku"], order["quantity"]) for order in orders] == [("s2", 4), ("s3", 6), ("s4", 8)]


async def test_an_agent_can_have_an_actor_for_each_partition(broker: Any, running: Any) -> None:
    source = broker.topic("src")
    app = make_app(broker)
    table = app.Table("sums", default=int)
    by_actor: dict[Any, set[int]] = collections.defaultdict(set)

    @app.agent(app.topic(source, value_serializer="json", key_serializer="raw"), isolated_partitions=True)
    async def add(stream: Any) -> None:
        async for event in stream.events():
            by_actor[asyncio.current_task()].add(event.message.partition)
            table[event.key.decode()] += event.value

    broker.send(source, *[(f"k{n % 20}", 1) for n in range(200)])
    async with running(app):
        await eventually(lambda: app.stats.records >= 200)
        assert sorted(table.values()) == [10] * 20
    assert sorted(map(sorted, by_actor.values())) == [[0], [1], [2], [3]]


async def test_a_batch_waits_for_the_events_that_an_agent_acknowledges_by_itself(broker: Any, running: Any) -> None:
    source = broker.topic("src")
    app = make_app(broker)
    held: list[Any] = []
    let_go: list[Any] = []

    @app.agent(app.topic(source, value_serializer="json", key_serializer="raw"))
    async def hold(stream: Any) -> None:
        async for event in stream.noack().events():
            held.append(event)
            let_go.append(stream)

    broker.send(source, ("k", 1), ("k", 2))
    async with running(app):
        await eventually(lambda: len(held) == 2)
        assert app.stats.records == 0
        for stream, event in zip(let_go, held, strict=True):
            await stream.ack(event)
        await eventually(lambda: app.stats.records == 2)
    assert broker.committed(app.conf.id, source) == 2


async def test_a_timer_of_the_leader_runs_in_one_of_two_workers(broker: Any, running: Any) -> None:
    source, name = broker.topic("src"), broker.name("app")
    led: list[str] = []

    def make(instance: str) -> App:
        app = App(name, broker=broker.url, instance=instance, web_enabled=False)

        @app.agent(app.topic(source, value_serializer="json"))
        async def look(stream: Any) -> None:
            async for _ in stream:
                pass

        @app.timer(0.02, on_leader=True)
        async def lead() -> None:
            led.append(instance)

        return app

    first, second = make("0"), make("1")
    async with running(first), running(second):
        await eventually(lambda: len(first.consumer.assignment()) == len(second.consumer.assignment()) == 2)
        leader = "0" if first.is_leader() else "1"
        assert first.is_leader() != second.is_leader()
        led.clear()
        await eventually(lambda: len(led) > 5)
        assert set(led) == {leader}
