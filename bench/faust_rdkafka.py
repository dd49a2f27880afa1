"""Faust on librdkafka against stock Faust: the same fold of commands into a table, records a second and CPU seconds.

    python -m bench.faust_rdkafka [--records N] [--seconds S] [--bootstrap HOST:PORT]

Stock Faust is given as many seconds, not records: it would take minutes. Its guarantee is at_least_once, the faster of
its two; ours is exactly once in all rows. Rates count from the first committed record to the last, start-up left out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from typing import Any

import faust
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.servers import kafka
from faust_rdkafka import App, BatchSchema, run

PARTITIONS = 4
KEYS = 4000
KINDS = {
    "stock": "stock Faust (aiokafka), at_least_once",
    "send": "rdkafka://, a record at a time, topic.send",
    "emit": "rdkafka://, a record at a time, app.emit",
    "batch": "rdkafka://, batches",
    "rocks": "rdkafka://, batches, table in RocksDB",
}


@dataclass(frozen=True)
class Figures:
    records: int
    per_second: float
    cpu_s: float
    memory_mb: float


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench faust", description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="for stock Faust")
    parser.add_argument("--bootstrap", default=os.environ.get("TALLY_KAFKA_BOOTSTRAP"))
    options = parser.parse_args(argv)
    with kafka(options.bootstrap) as bootstrap:
        return _compare(bootstrap, options)


def _compare(bootstrap: str, options: argparse.Namespace) -> int:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    source = f"bench-{uuid.uuid4().hex[:8]}"
    _make(admin, source)
    _fill(bootstrap, source, options.records)
    print(
        f"{options.records} commands, {PARTITIONS} partitions, {KEYS} keys; one outcome a command, table with changelog"
    )
    print(f"{'':46} {'records':>9} {'records/s':>10} {'CPU s':>7} {'us CPU/record':>14} {'MB':>5}")
    for kind, title in KINDS.items():
        found = _measure(bootstrap, admin, source, kind, options)
        micros = found.cpu_s / max(found.records, 1) * 1e6
        print(
            f"{title:46} {found.records:9} {found.per_second:10.0f} {found.cpu_s:7.1f} {micros:14.1f}"
            f" {found.memory_mb:5.0f}",
            flush=True,
        )
    return 0


def _make(admin: AdminClient, *topics: str) -> None:
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in topics]).values():
        future.result(30)


def _fill(bootstrap: str, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 5})
    for n in range(count):
        body = orjson.dumps({"n": n, "sku": f"sku-{n % KEYS}", "quantity": n % 7})
        while True:
            try:
                producer.produce(topic, body, f"sku-{n % KEYS}".encode())
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def _measure(bootstrap: str, admin: AdminClient, source: str, kind: str, options: argparse.Namespace) -> Figures:
    app_id, out = f"{source}-{kind}", f"{source}-{kind}-out"
    changelog = f"{app_id}-sums-changelog"
    _make(admin, out, changelog)
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.faust_rdkafka", "worker", kind, bootstrap, app_id, source, out, folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        limit_s = options.seconds if kind == "stock" else 300.0
        done, took_s = _watch(bootstrap, app_id, source, options.records, limit_s)
        process.send_signal(signal.SIGTERM)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    return Figures(done, done / took_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _watch(bootstrap: str, group: str, topic: str, count: int, limit_s: float) -> tuple[int, float]:
    """Committed records and the seconds that they took, from the first seen commit on."""
    asker = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    first, began, done, at = 0, 0.0, 0, 0.0
    give_up = time.monotonic() + 60 + limit_s
    while done < count and time.monotonic() < give_up and (not began or time.monotonic() < began + limit_s):
        now_done = sum(max(tp.offset, 0) for tp in asker.committed(places, 20))
        now = time.monotonic()
        if now_done and not began:
            first, began = now_done, now
        if now_done != done:
            done, at = now_done, now
        time.sleep(0.02)
    asker.close()
    return done, max(at - began, 1e-9) * done / max(done - first, 1)


def _worker(kind: str, bootstrap: str, app_id: str, source: str, out: str, folder: str) -> None:
    settings: dict[str, Any] = {"web_enabled": False, "topic_partitions": PARTITIONS, "datadir": folder}
    if kind == "stock":
        app: Any = faust.App(
            app_id,
            broker=f"kafka://{bootstrap}",
            store="memory://",
            topic_disable_leader=True,
            broker_commit_interval=0.5,
            **settings,
        )
    else:
        store = "rocksdb://" if kind == "rocks" else "memory://"
        app = App(app_id, broker=f"rdkafka://{bootstrap}", instance="0", store=store, **settings)
    table = app.Table("sums", partitions=PARTITIONS)
    outcomes = app.topic(out, key_serializer="raw", value_serializer="raw")
    if kind in ("batch", "rocks"):

        @app.agent(app.topic(source, schema=BatchSchema()))
        async def fold_batches(batches: Any) -> None:
            async for batch in batches:
                rows = table.partition(batch.partition)
                for command in batch:
                    sku = command["sku"]
                    total = rows[sku] = rows.get(sku, 0) + command["quantity"]
                    app.emit(out, sku.encode(), orjson.dumps({"n": command["n"], "total": total}))

    else:

        @app.agent(app.topic(source, key_serializer="raw", value_serializer="json"))
        async def fold_records(commands: Any) -> None:
            async for command in commands:
                sku = command["sku"]
                total = table[sku] = (table.get(sku) or 0) + command["quantity"]
                outcome = orjson.dumps({"n": command["n"], "total": total})
                if kind == "emit":
                    app.emit(out, sku.encode(), outcome)
                else:
                    await outcomes.send(key=sku.encode(), value=outcome)

    if kind == "stock":
        faust.Worker(app, loglevel="error").execute_from_commandline()
    else:
        raise SystemExit(asyncio.run(run(app)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        _worker(*sys.argv[2:])
    else:
        raise SystemExit(main(sys.argv[1:]))
