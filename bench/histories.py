"""Histories: filling the index, reading one aggregate by it, and fsck of the same topic.

Three shapes: one aggregate with 100,000 events, a thousand with 20 each, and many with ten each. Events are payments'
smallest, so the rates are those of the machinery. Arguments: how many events in all (200,000 by default; 5,000,000 is
the figure that we state; with 10,120,000 a million aggregates have ten events each). Each history is read twice: from
the index in this process, and over HTTP as the event store reads it of a worker.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bench.servers import kafka
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, now
from schemas.histories import Row, message_of
from schemas.messages import PaymentCaptured
from schemas.records import encode_record
from schemas.topics import EVENT_TOPICS, PARTITIONS, PAYMENTS_EVENTS, TOPICS
from streams.histories.following import Follower
from streams.histories.pages import add_histories
from tally.fsck.running import Sources, fsck
from tally.local.ports import free_ports
from tally.reading.reader import Reader
from tally.reading.workers import Worker
from tally.reading.workers_index import WorkersIndex

HOT_EVENTS, EVENTS_EACH, READS = 100_000, 10, 2_000
HOT = "hot"
TWENTIES, TWENTY = 1_000, 20
OWNED = set(range(PARTITIONS))
CODEC = AvroCodec()
# Gives rows of (aggregate type, id) from one version to another.
Read = Callable[[str, str, int, int], Iterable[Row]]
VERSION_MAX = (1 << 63) - 1


def main(arguments: list[str]) -> int:
    """Prints a line a figure."""
    count = int(arguments[0]) if arguments else 200_000
    with tempfile.TemporaryDirectory() as folder, kafka() as bootstrap:
        _fill(bootstrap, count)
        _index(bootstrap, Path(folder) / "index", count)
        _prove(bootstrap)
    return 0


def _fill(bootstrap: str, count: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics(
        [NewTopic(name, PARTITIONS, 1, config=TOPICS[name].config) for name in EVENT_TOPICS]
    ).values():
        made.result(30)
    begun = time.perf_counter()
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 20})
    others = _others(count)
    # In turn, so that no aggregate's events lie together.
    for version in range(1, EVENTS_EACH + 1):
        for number in range(others):
            _produce(producer, f"p{number}", version)
    for version in range(1, TWENTY + 1):
        for number in range(TWENTIES):
            _produce(producer, f"t{number}", version)
    for version in range(1, HOT_EVENTS + 1):
        _produce(producer, HOT, version)
    producer.flush()
    took = time.perf_counter() - begun
    print(f"topic filled          {count / took:12,.0f} events/s   {took:6.0f} s", flush=True)


def _others(count: int) -> int:
    return max((count - HOT_EVENTS - TWENTIES * TWENTY) // EVENTS_EACH, 1)


def _produce(producer: Producer, subject: str, version: int) -> None:
    envelope = Envelope(f"{subject}-{version}", "PAYMENT_CAPTURED", "/t", "payments", subject, version, now(), "c", "c")
    key, value, headers = encode_record(Message(envelope, PaymentCaptured(subject, 100, "GBP", "tok_ok")), CODEC)
    while True:
        try:
            producer.produce(PAYMENTS_EVENTS, value, key, headers=headers)
            return
        except BufferError:
            producer.poll(0.1)


def _index(bootstrap: str, folder: Path, count: int) -> None:
    with Reader(bootstrap) as reader:
        ends = {n: reader.bounds((PAYMENTS_EVENTS, n))[1] for n in range(PARTITIONS)}
    follower, begun = Follower(bootstrap, folder, lambda: OWNED), time.perf_counter()
    follower.start()
    while not _reached(follower, ends):
        time.sleep(0.05)
    took = time.perf_counter() - begun
    bytes_ = sum(os.path.getsize(folder / name) for name in os.listdir(folder))
    events = sum(ends.values())
    print(
        f"index filled          {events / took:12,.0f} events/s   {took:6.0f} s, {bytes_ / events:.0f} bytes an event, "
        f"{bytes_ / 1e6:,.0f} MB, process {_memory_mb(resource.RUSAGE_SELF)} MB at most",
        flush=True,
    )
    others = _others(count)
    asked = {
        f"ten events of one of {others:,}": [(f"p{(n * 7919) % others}", 1, VERSION_MAX) for n in range(READS)],
        f"20 events of one of {TWENTIES:,}": [(f"t{n * 7 % TWENTIES}", 1, VERSION_MAX) for n in range(READS)],
        f"20 of the hot one's {HOT_EVENTS:,}": [(HOT, n * 49 + 1, n * 49 + 20) for n in range(READS)],
    }
    assert follower.index is not None
    with _over_http(follower) as read:
        for name, each in asked.items():
            _read(name, follower.index.read, each)
            _read(f"{name}, over HTTP", read, each)
    follower.stop()


def _reached(follower: Follower, ends: dict[int, int]) -> bool:
    index = follower.index
    if index is None:
        return False
    positions = {n: index.position(PAYMENTS_EVENTS, n) for n in ends}
    return all((0 if p is None else p.next_offset) >= ends[n] for n, p in positions.items())


@contextmanager
def _over_http(follower: Follower) -> Iterator[Read]:
    """The index behind a port, as a worker serves it, and how it is read there."""
    application, (port,) = web.Application(), free_ports(1)
    add_histories(application, lambda: follower.index, lambda: OWNED)
    runner, loop = web.AppRunner(application), asyncio.new_event_loop()
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", port).start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    index = WorkersIndex("", lambda _: [Worker(0, f"http://127.0.0.1:{port}", ())])
    try:
        yield index.rows
    finally:
        index.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(runner.cleanup())
        loop.close()


def _read(name: str, read: Read, asked: list[tuple[str, int, int]]) -> None:
    times = []
    for subject, first, last in asked:
        begun = time.perf_counter()
        for row in read("payments", subject, first, last):
            message_of(row, CODEC)
        times.append((time.perf_counter() - begun) * 1_000)
    times.sort()
    print(f"{name:42} p50 {statistics.median(times):7.2f} ms   p99 {times[int(len(times) * 0.99)]:7.2f} ms", flush=True)


def _prove(bootstrap: str) -> None:
    report = fsck(Sources(bootstrap, tables=False), list)
    records, seconds = report.figures["records"], report.figures["seconds"]
    print(
        f"fsck                  {records / seconds:12,.0f} events/s   {seconds} s, {len(report.findings)} findings, "
        f"{_memory_mb(resource.RUSAGE_CHILDREN)} MB at most in one of its processes",
        flush=True,
    )


def _memory_mb(whose: int) -> int:
    return resource.getrusage(whose).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
