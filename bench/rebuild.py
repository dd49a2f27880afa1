"""Rebuild: events a second of a read model's new version, from offset 0 until it is in step, in one process.

A million events of orders lie in a topic of four partitions; the process is a worker's app with the served table at the
end of the topic, so all that it does is the build: fetch, decode, fold, changelog and store, in Kafka transactions.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from faust.types import TP

from bench.servers import kafka
from faust_rdkafka import App, BatchSchema, run
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, now
from schemas.messages import OrderConfirmed, OrderCreated, OrderLine, OrderShipped, wire_type
from schemas.records import decode_record
from schemas.table_versions import Versions
from schemas.topics import ORDERS_EVENTS, PARTITIONS
from streams.read_models.table_of_tables import READ_MODELS, read_model
from streams.rebuilds.building import TABLE, Rebuilds
from streams.worker.process import BATCH_RECORDS_MAX, GC_THRESHOLDS, STORE_CACHE_ROWS

EVENTS = 1_000_000
LINES = 3
# An order is confirmed soon, and shipped when so many others came.
CONFIRMED_AFTER, SHIPPED_AFTER = 20, 5_000
LOOK_EVERY_S = 0.05
BUILT_WITHIN_S = 600.0


def main(argv: list[str]) -> int:
    """Fills the topic once and rebuilds as often as asked; prints a line a run."""
    parser = argparse.ArgumentParser(prog="python -m bench.rebuild")
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args(argv)
    named = os.environ.get("TALLY_KAFKA_BOOTSTRAP")
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as folder, kafka(named) as bootstrap:
        _fill(bootstrap, given.events)
        print(f"{given.events} events of orders of {LINES} lines, {PARTITIONS} partitions")
        print(f"{'seconds':>8} {'events/s':>9} {'CPU s':>6} {'rows':>8} {'MB':>5}")
        for number in range(given.runs):
            _measure(bootstrap, Path(folder) / str(number))
    return 0


def _measure(bootstrap: str, folder: Path) -> None:
    command = [sys.executable, "-m", "bench.rebuild", "worker", bootstrap, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=BUILT_WITHIN_S)
    found = json.loads(done.stdout)
    rate = found["events"] / found["seconds"]
    print(
        f"{found['seconds']:8.1f} {rate:9.0f} {found['cpu_s']:6.1f} {found['rows']:8} {found['memory_mb']:5.0f}"
        f"   {json.dumps(found['stages'])}",
        flush=True,
    )


def _fill(bootstrap: str, events: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    if ORDERS_EVENTS not in admin.list_topics(timeout=10).topics:
        admin.create_topics([NewTopic(ORDERS_EVENTS, PARTITIONS, 1)])[ORDERS_EVENTS].result(30)
    producer = Producer(
        {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 50, "batch.size": 1 << 20}
    )
    codec, at, orders = AvroCodec(), now(), -(-events // 3)
    lines = tuple(OrderLine(n, f"8512{n}A", n, 255) for n in range(1, LINES + 1))
    steps = [
        (0, OrderCreated("17850", "GBP", lines, 255 * LINES, "card", "tok_ok")),
        (CONFIRMED_AFTER, OrderConfirmed()),
        (SHIPPED_AFTER, OrderShipped()),
    ]
    bodies = [(after, wire_type(type(body)), codec.encode(body)) for after, body in steps]
    ids = [str(uuid.uuid4()) for _ in range(orders)]
    sent = 0
    for place in range(orders + SHIPPED_AFTER):
        for version, (after, type_, value) in enumerate(bodies, 1):
            if not 0 <= place - after < orders or sent == events:
                continue
            order = ids[place - after]
            id_ = f"{order}@{version}"
            envelope = Envelope(id_, type_, "/tally/orders", "orders", order, version, at, order, id_)
            _produce(producer, value, order.encode(), envelope.headers())
            sent += 1
    producer.flush()


def _produce(producer: Producer, value: bytes, key: bytes, headers: list[tuple[str, bytes]]) -> None:
    while True:
        try:
            producer.produce(ORDERS_EVENTS, value, key, headers=headers)
            return
        except BufferError:
            producer.poll(0.1)


def _worker(bootstrap: str, folder: str) -> None:
    """One rebuild; prints its figures as JSON and ends."""
    app_id = f"bench-{uuid.uuid4().hex[:8]}"
    _stand_at_the_end(bootstrap, app_id)
    gc.set_threshold(*GC_THRESHOLDS)
    app = App(
        app_id,
        broker=f"rdkafka://{bootstrap}",
        instance="0",
        web_enabled=False,
        store="rocksdb://",
        datadir=folder,
        store_cache_rows=STORE_CACHE_ROWS,
        batch_records_max=BATCH_RECORDS_MAX,
    )
    tables = {name: app.Table(name) for name in ("orders", TABLE)}
    decode = partial(_decode, AvroCodec())
    rebuilds = Rebuilds(app, tables, {"orders": read_model("orders")}, READ_MODELS, decode)
    rebuilds.declare({"orders": Versions(1, 2, 2)})

    async def follow(batches: Any) -> None:
        async for batch in batches:
            rebuilds.follow("orders", batch)

    app.agent(app.topic(ORDERS_EVENTS, schema=BatchSchema(decode, headers=True)))(follow)

    @app.on_partitions_restored
    def begin(owned: set[int]) -> None:
        if owned != set(range(PARTITIONS)):
            _give_up(f"this process was given the partitions {sorted(owned)} alone")
        app.loop.create_task(_measured(app, rebuilds, time.monotonic(), _cpu_s()))

    @app.on_partitions_dropped
    def lost(dropped: set[int]) -> None:
        _give_up(f"this process lost the partitions {sorted(dropped)} before the build was done")

    raise SystemExit(asyncio.run(run(app)))


def _give_up(why: str) -> NoReturn:
    """There is nothing to measure: says so and ends the process at once."""
    print(why, file=sys.stderr, flush=True)
    os._exit(1)


async def _measured(app: App, rebuilds: Rebuilds, began_s: float, cpu_s: float) -> None:
    try:
        await _watch(app, rebuilds, began_s, cpu_s)
    except Exception as error:
        # A task's exception would be told to nobody while the app runs.
        _give_up(f"the build is not what it should be: {error!r}")


async def _watch(app: App, rebuilds: Rebuilds, began_s: float, cpu_s: float) -> None:
    build = rebuilds.build("orders")
    assert build is not None
    rows: list[Any] = []
    while len(rows) < PARTITIONS or not all(row["in_step"] for row in rows):
        await asyncio.sleep(LOOK_EVERY_S)
        rows = list(rebuilds.status())
    figures = {
        "seconds": time.monotonic() - began_s,
        "cpu_s": _cpu_s() - cpu_s,
        "events": sum(row["events"] for row in rows),
        "rows": sum(len(build.table.committed(number)) for number in build.table.partitions_owned()),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "stages": {name: round(value, 1) for name, value in app.stats.as_dict().items() if name.endswith("_s")},
    }
    assert sum(row["faults"] for row in rows) == 0
    assert all(row["next_offset"] == app.consumer.position(TP(ORDERS_EVENTS, row["partition"])) for row in rows)
    print(json.dumps(figures), flush=True)
    os._exit(0)


def _stand_at_the_end(bootstrap: str, group: str) -> None:
    """The served table has all: the group's offsets are the ends."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    places = [TopicPartition(ORDERS_EVENTS, number) for number in range(PARTITIONS)]
    for place in places:
        place.offset = consumer.get_watermark_offsets(place, timeout=10)[1]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()


def _decode(codec: AvroCodec, headers: Any, value: bytes | None) -> Any:
    return decode_record(headers, value, codec)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        _worker(*sys.argv[2:])
    else:
        raise SystemExit(main(sys.argv[1:]))
