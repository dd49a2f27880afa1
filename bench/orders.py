"""Orders: time from POST to CONFIRMED through every hop, at a steady rate, on a system of its own; by hop where asked.

The peer of this figure is the system itself when idle: one order at a time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Consumer, TopicPartition

from schemas.topics import ORDERS_EVENTS, PARTITIONS, SAGAS_EVENTS
from tally.local import background

READY_WITHIN_S = 120.0
WARM_UP_S, SKUS = 10.0, 400
SETTLE_S = 20.0
IDLE_ORDERS = 30


class Watcher(threading.Thread):
    """Notes when a read_committed consumer has each order's events in hand."""

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False})
        places = [TopicPartition(topic, number, -1) for topic in topics for number in range(PARTITIONS)]
        self._consumer.assign(places)
        self.seen_at: dict[tuple[str, str], float] = {}
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.is_set():
            message = self._consumer.poll(0.2)
            if message is None or message.error():
                continue
            key, headers = message.key(), dict(message.headers() or ())
            self.seen_at.setdefault(((key or b"").decode(), headers["ce_type"].decode()), time.monotonic())
        self._consumer.close()


class Shop:
    """Places orders over HTTP and remembers when each POST was sent."""

    def __init__(self, api: str, lines: int) -> None:
        self._lines = lines
        self._client = httpx.Client(base_url=api, timeout=30)
        self.sent_at: dict[str, float] = {}

    def stock(self) -> None:
        """Plenty of every SKU."""
        for number in range(SKUS):
            answer = self._client.post(
                f"/stock/bench-{number}/receipts",
                json={"quantity": 1_000_000},
                headers={"Idempotency-Key": uuid.uuid4().hex, "Prefer": "wait=20"},
            )
            answer.raise_for_status()

    def place(self, number: int) -> str:
        """One order; its id."""
        lines = [
            {"sku": f"bench-{(number + place) % SKUS}", "quantity": 1, "unit_price_minor": 100}
            for place in range(self._lines)
        ]
        body: dict[str, Any] = {
            "customer_id": f"customer-{number % 50}",
            "currency": "GBP",
            "lines": lines,
            "payment": {"method": "card", "reference": "tok_ok"},
        }
        begun = time.monotonic()
        answer = self._client.post("/orders", json=body, headers={"Idempotency-Key": uuid.uuid4().hex})
        answer.raise_for_status()
        order_id: str = answer.json()["order_id"]
        self.sent_at[order_id] = begun
        return order_id


def percentiles(values: Sequence[float]) -> str:
    """`p50 … p99 … ms (n)` of seconds."""
    cuts = statistics.quantiles(values, n=100)
    return f"p50 {cuts[49] * 1000:6.0f} ms   p99 {cuts[98] * 1000:6.0f} ms   ({len(values)} orders)"


def steadily(shop: Shop, rate: float, seconds: float) -> list[str]:
    """Orders at `rate` a second, sent on time whether or not earlier ones were answered."""
    begun, futures = time.monotonic(), []
    pause = threading.Event()
    with ThreadPoolExecutor(16) as pool:
        for number in range(int(rate * seconds)):
            pause.wait(max(0.0, begun + number / rate - time.monotonic()))
            futures.append(pool.submit(shop.place, number))
    return [future.result() for future in futures]


def wait_for(watcher: Watcher, orders: Sequence[str], type_: str) -> None:
    """Until all orders have that event, or SETTLE_S are over."""
    ends_at, pause = time.monotonic() + SETTLE_S, threading.Event()
    while time.monotonic() < ends_at and any((order, type_) not in watcher.seen_at for order in orders):
        pause.wait(0.002)


def report(name: str, shop: Shop, watcher: Watcher, orders: Sequence[str]) -> None:
    """One line for the whole way, one for each event on it."""
    print(f"{name}")
    for type_ in ("ORDER_CREATED", "SAGA_STARTED", "ORDER_CONFIRMED"):
        found = [
            watcher.seen_at[order, type_] - shop.sent_at[order] for order in orders if (order, type_) in watcher.seen_at
        ]
        if len(found) > 1:
            print(f"  POST to {type_:16} {percentiles(found)}")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_of_tree(pid: int) -> float:
    """User and system time so far of a process and all that live under it: servers' children too."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, todo = 0.0, [pid]
    while todo:
        one = todo.pop()
        found += cpu_seconds(one)
        todo += children.get(one, [])
    return found


def main(argv: list[str]) -> int:
    """Starts a system, warms it up, measures one order at a time and then the steady rate."""
    parser = argparse.ArgumentParser(prog="python -m bench.orders")
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--lines", type=int, default=5, help="lines of an order")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        (home / "logs").mkdir()
        child, endpoints = background.start_attached(home, ["--data-dir", folder], READY_WITHIN_S)
        watcher = Watcher(str(endpoints["kafka"]), (ORDERS_EVENTS, SAGAS_EVENTS))
        try:
            watcher.start()
            shop = Shop(str(endpoints["api"]), given.lines)
            shop.stock()
            young = steadily(shop, given.rate, WARM_UP_S)
            wait_for(watcher, young, "ORDER_CONFIRMED")
            report(f"the first {WARM_UP_S:g} s, {given.rate:g} orders/s of {given.lines} lines", shop, watcher, young)
            idle = []
            for number in range(IDLE_ORDERS):
                idle.append(shop.place(number))
                wait_for(watcher, idle, "ORDER_CONFIRMED")
            report("one at a time", shop, watcher, idle)
            pids = {name: int(pid) for name, pid in dict(endpoints["pids"]).items()}  # type: ignore[call-overload]
            before, begun = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic()
            whole = cpu_of_tree(pids["supervisor"])
            orders = steadily(shop, given.rate, given.seconds)
            wait_for(watcher, orders, "ORDER_CONFIRMED")
            lasted, whole = time.monotonic() - begun, cpu_of_tree(pids["supervisor"]) - whole
            shares = {name: (cpu_seconds(pid) - before[name]) / lasted for name, pid in pids.items()}
            report(f"{given.rate:g} orders/s of {given.lines} lines", shop, watcher, orders)
            print(f"  CPU of all processes: {whole / len(orders) * 1000:.0f} ms an order, {whole / lasted:.2f} cores")
            print("  share of a core: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
        finally:
            watcher.ending.set()
            watcher.join(10)
            child.stop(background.STOPPED_WITHIN_S)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
