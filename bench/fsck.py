"""fsck of a million events: every history read, folded and compared with its head row.

`python -m bench.fsck [EVENTS]` (1,000,000 by default; the bound that we state for them is 60 s)
Orders of four events each, in turn, so that no order's events lie together; a head row with its snapshot for each. At
the end one head is set back by hand, to show that the same run finds it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from psycopg.types.json import Jsonb

from bench.servers import servers
from producers.orders.aggregate import ORDERS
from producers.store.migrating import migrate
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, now
from schemas.messages import (
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    OrderLinesReturned,
    OrderShipped,
    ReturnedLine,
    wire_type,
)
from schemas.records import encode_record
from schemas.topics import EVENT_TOPICS, ORDERS_EVENTS, PARTITIONS, TOPICS
from tally.audit.report import Report
from tally.fsck.running import Sources, fsck

EVENTS = 1_000_000
LINES = (OrderLine(1, "85123A", 6, 255), OrderLine(2, "71053", 6, 339), OrderLine(3, "84406B", 8, 275))
HISTORY: tuple[Any, ...] = (
    OrderCreated("17850", "GBP", LINES, 5764, "card", "tok_ok"),
    OrderConfirmed(),
    OrderShipped(),
    OrderLinesReturned((ReturnedLine(2, 1),)),
)
ROUND = 20_000
LOOK_EVERY_S = 0.2
CODEC = AvroCodec()
_COPY = "copy heads (aggregatetype, aggregateid, version, snapshot, snapshot_version, recorded_at) from stdin"


def main(arguments: list[str]) -> int:
    """Prints a line a figure."""
    orders = (int(arguments[0]) if arguments else EVENTS) // len(HISTORY)
    with servers() as (bootstrap, host):
        url = host.create_database("fsck")
        migrate("orders", url)
        _fill(bootstrap, orders)
        _heads(url, orders)
        began, cpu_s = time.perf_counter(), _cpu_s()
        with _watching_memory() as kib:
            report = fsck(Sources(bootstrap, {"orders": url}, tables=False), list)
        _print(report, time.perf_counter() - began, _cpu_s() - cpu_s, max(kib))
        with psycopg.connect(url) as connection:
            connection.execute(
                "update heads set snapshot = snapshot || '{\"status\": \"CREATED\"}' where aggregateid = 'o7'"
            )
        found = fsck(Sources(bootstrap, {"orders": url}, tables=False), list).findings
        print(f"one snapshot set back: {[f'{each.check} {each.place}' for each in found]}")
    return 0


def _fill(bootstrap: str, orders: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = [NewTopic(name, PARTITIONS, 1, config=TOPICS[name].config) for name in EVENT_TOPICS]
    for made in admin.create_topics(topics).values():
        made.result(30)
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 20})
    for order_id, version in _in_turn(orders):
        body, at = HISTORY[version - 1], now()
        id_ = f"{order_id}-{version}"
        envelope = Envelope(id_, wire_type(type(body)), "/bench", "orders", order_id, version, at, id_, id_)
        key, value, headers = encode_record(Message(envelope, body), CODEC)
        while True:
            try:
                producer.produce(ORDERS_EVENTS, value, key, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def _in_turn(orders: int) -> Iterator[tuple[str, int]]:
    for first in range(0, orders, ROUND):
        for version in range(1, len(HISTORY) + 1):
            for number in range(first, min(first + ROUND, orders)):
                yield f"o{number}", version


def _heads(url: str, orders: int) -> None:
    snapshot = Jsonb(ORDERS.form.to_json(reduce(ORDERS.evolve, HISTORY, ORDERS.initial)))
    at = now()
    with psycopg.connect(url) as connection, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for number in range(orders):
            copy.write_row(("orders", f"o{number}", len(HISTORY), snapshot, ORDERS.form.version, at))


def _cpu_s() -> float:
    """Of this process and those of its children that have ended: fsck's own, the servers live on."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@contextmanager
def _watching_memory() -> Iterator[list[int]]:
    """KiB of this process and those that it scans with: a value for each look."""
    ended, seen = Event(), [0]

    def watch() -> None:
        while not ended.wait(LOOK_EVERY_S):
            ids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
            seen.append(sum(map(_resident_kib, ids)))

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def _resident_kib(process: int | None) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0  # it has ended
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)


def _print(report: Report, seconds: float, cpu_s: float, kib: int) -> None:
    figures = report.figures
    told = ", ".join(f"{figures[each]:,} {each}" for each in ("records", "aggregates", "snapshots"))
    print(
        f"fsck: {told} in {seconds:.1f} s ({figures['records'] / seconds:,.0f} records/s, "
        f"CPU {cpu_s / figures['records'] * 1e6:.1f} µs a record), at most {kib // 1024} MiB in all its processes, "
        f"{len(report.findings)} findings",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
