"""A table of a million rows after a restart: its store wiped, or warm after kill -9; seconds and records a second.

    python -m bench.restore [--keys N] [--bootstrap HOST:PORT]

"restored" counts from the assignment of the partitions to their rows being readable; "ready" from the start of the
process, with Python's imports and the group's join. Before each kill the worker is busy with updates of random rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from typing import Any

import orjson
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bench.servers import kafka
from faust_rdkafka import App, BatchSchema, run

PARTITIONS = 4
UPDATES = 100_000


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench restore", description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--bootstrap", default=os.environ.get("TALLY_KAFKA_BOOTSTRAP"))
    options = parser.parse_args(argv)
    with kafka(options.bootstrap) as bootstrap:
        return _measure(bootstrap, options.keys)


def _measure(bootstrap: str, keys: int) -> int:
    app_id = f"bench-{uuid.uuid4().hex[:8]}"
    changelog, source = f"{app_id}-rows-changelog", f"{app_id}-source"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    compacted = NewTopic(changelog, PARTITIONS, 1, config={"cleanup.policy": "compact"})
    for future in admin.create_topics([compacted, NewTopic(source, PARTITIONS, 1)]).values():
        future.result(30)
    _fill(bootstrap, changelog, range(keys))
    print(f"{keys} keys, {PARTITIONS} partitions, rows of about 50 bytes; the killed worker was updating random rows")
    print(f"{'':34} {'records':>9} {'restored s':>10} {'records/s':>10} {'ready s':>8} {'CPU s':>6} {'MB':>5}")
    with tempfile.TemporaryDirectory() as folder:
        _run(bootstrap, app_id, folder, "rocksdb", "RocksDB, wiped", source, keys)
        _run(bootstrap, app_id, folder, "rocksdb", "RocksDB, warm after kill -9", source, keys)
        _run(bootstrap, app_id, folder, "rocksdb", "RocksDB, warm after kill -9", source, 0)
        _run(bootstrap, app_id, folder, "memory", "memory", source, 0)
    return 0


def _fill(bootstrap: str, topic: str, numbers: Any) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 20})
    for n in numbers:
        while True:
            try:
                producer.produce(topic, orjson.dumps({"total": n, "version": 1, "name": "abcdefgh"}), _key(n))
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def _key(n: int) -> bytes:
    return f"customer-{n * 2654435761 % 2**32:010d}".encode()


def _run(bootstrap: str, app_id: str, folder: str, store: str, title: str, source: str, keys: int) -> None:
    """Start, wait until restored, print; with `keys` send updates and kill amid them."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.restore", "worker", store, bootstrap, app_id, source, folder, str(time.time())],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    found = json.loads(process.stdout.readline())
    rate = found["records"] / found["restored_s"]
    print(
        f"{title:34} {found['records']:9} {found['restored_s']:10.2f} {rate:10.0f} {found['ready_s']:8.2f}"
        f" {found['cpu_s']:6.1f} {found['memory_mb']:5.0f}",
        flush=True,
    )
    if keys:
        chance = random.Random(3)
        _fill(bootstrap, source, (chance.randrange(keys) for _ in range(UPDATES)))
        process.stdout.readline()  # it has done some of them
    process.kill()
    process.wait()
    process.stdout.close()


def _worker(store: str, bootstrap: str, app_id: str, source: str, folder: str, started: str) -> None:
    app = App(
        app_id, broker=f"rdkafka://{bootstrap}", instance="0", web_enabled=False, store=f"{store}://", datadir=folder
    )
    table = app.Table("rows")

    @app.agent(app.topic(source, schema=BatchSchema()))
    async def update(batches: Any) -> None:
        async for batch in batches:
            rows = table.partition(batch.partition)
            for key, value in zip(batch.keys, batch.values, strict=True):
                row = rows.get(key.decode()) or {"version": 0}
                rows[key.decode()] = {**value, "version": row["version"] + 1}
            if app.stats.records > UPDATES // 4:
                print("busy", flush=True)

    @app.on_partitions_restored
    def restored(partitions: set[int]) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        figures = {
            "records": app.stats.restore_records,
            "restored_s": app.stats.restore_s,
            "ready_s": time.time() - float(started),
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "memory_mb": usage.ru_maxrss / 1024,
        }
        print(json.dumps(figures), flush=True)

    raise SystemExit(asyncio.run(run(app)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        _worker(*sys.argv[2:])
    else:
        raise SystemExit(main(sys.argv[1:]))
