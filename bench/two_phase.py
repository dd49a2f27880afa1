"""Measures a wallet order's pivot as one two-phase commit against the same as two steps of a saga, on real servers.

`python -m bench.two_phase [--orders N] [--at-once N] [--rounds N] [--away SECONDS]`
A server for each service, commits that wait for the disk; both ways in turn, round by round.
The saga's side is its two local transactions alone (debit, then confirm), without the way through Kafka between them,
so its latency here is a floor: in the whole system each hop adds to it.
With `--away` the payments server is killed in the middle of payments and away so long (0: not at all).
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import structlog

from bench.two_phase_shop import Shop, two_servers
from tally.local.postgres import Postgres

TRIES_MAX = 200
TRY_AGAIN_S = 0.25
LOOK_AGAIN_S = 0.05
# One that does not end within this after everybody is back is a failure, not a figure.
ENDED_WITHIN_S = 120.0
ORDERS_BEFORE_AWAY, ORDER_EVERY_S = 40, 1.0


@dataclass(frozen=True)
class Figures:
    """Of one run: orders a second; latency of an order and how long its wallet's row was locked, in ms."""

    rate: float
    p50_ms: float
    p99_ms: float
    held_p50_ms: float
    held_p99_ms: float


def measure(shop: Shop, act: Callable[[str], bool], ids: list[str], at_once: int) -> Figures:
    """Does all, so many at once; latency counts from an order's first try."""
    shop.held.ms.clear()

    def until_done(id_: str) -> float:
        began = time.perf_counter()
        for _ in range(TRIES_MAX):
            if act(id_):
                return (time.perf_counter() - began) * 1_000
        raise AssertionError(f"confirmation {id_} was not done in {TRIES_MAX} tries")

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as workers:
        taken = list(workers.map(until_done, ids))
    rate = len(ids) / (time.perf_counter() - began)
    return Figures(rate, *_p50_p99(taken), *_p50_p99(shop.held.ms))


def _p50_p99(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def print_rates(shop: Shop, orders: int, at_once: int, rounds: int) -> None:
    """A table: medians of the rounds."""
    ways = (("two-phase commit", shop.by_two_phase_commit), ("saga steps", shop.by_saga_steps))
    print(f"{'wallets':>8} {'how':<17} {'orders/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'locked p50':>11} {'p99 ms':>8}")
    for wallets in (orders, 1):
        found: dict[str, list[Figures]] = {how: [] for how, _ in ways}
        for _ in range(rounds):
            for how, act in ways:
                found[how].append(measure(shop, act, shop.place(orders, wallets), at_once))
        for how, runs in found.items():
            rate, p50, p99, held, held99 = (
                statistics.median(getattr(run, name) for run in runs)
                for name in ("rate", "p50_ms", "p99_ms", "held_p50_ms", "held_p99_ms")
            )
            print(
                f"{wallets:>8} {how:<17} {rate:>9.0f} {p50:>8.1f} {p99:>8.1f} {held:>11.1f} {held99:>8.1f}", flush=True
            )


def print_away(shop: Shop, payments: Postgres, away_s: float) -> None:
    """A table: what an absence of the payments server costs either way."""
    print(f"payments server away for {away_s:.0f} s")
    print(f"{'how':<17} {'placed meanwhile':>17} {'prepared':>9} {'all ended after':>16}", flush=True)
    for how, run in (("two-phase commit", _pivot), ("saga steps", _saga)):
        ids = shop.place(ORDERS_BEFORE_AWAY, ORDERS_BEFORE_AWAY)
        customer = f"away-{how}"
        shop.credit(customer)
        before, stopping, pause = shop.done(), Event(), Event()
        with ThreadPoolExecutor(1) as runner:
            ran = runner.submit(run, shop, ids, stopping)
            _until(lambda before=before: shop.done() > before, "the first order")
            payments.kill()
            back_at_s, placed = time.monotonic() + away_s, 0
            while time.monotonic() < back_at_s:
                ids.append(shop.place_one(customer))
                placed += 1
                pause.wait(ORDER_EVERY_S)
            prepared = shop.prepared()
            payments.launch()
            payments.wait_ready()
            back = time.perf_counter()
            _until(lambda before=before, ids=ids: shop.done() == before + len(ids), "all to end")
            _until(lambda: shop.prepared() == 0, "nothing to be prepared")
            took = time.perf_counter() - back
            stopping.set()
            ran.result()
        print(f"{how:<17} {placed:>17} {prepared:>9} {took:>14.1f} s", flush=True)


def _pivot(shop: Shop, ids: list[str], stopping: Event) -> None:
    shop.recovery.start()
    shop.pivot.start()
    stopping.wait()
    shop.pivot.stop()
    shop.recovery.stop()


def _saga(shop: Shop, ids: list[str], stopping: Event) -> None:
    done: set[str] = set()
    while not stopping.wait(TRY_AGAIN_S):
        done |= {id_ for id_ in list(ids) if id_ not in done and shop.by_saga_steps(id_)}


def _until(question: Callable[[], bool], what: str) -> None:
    deadline, pause = time.monotonic() + ENDED_WITHIN_S, Event()
    while not question():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {ENDED_WITHIN_S} s: {what}")
        pause.wait(LOOK_AGAIN_S)


def main(argv: list[str]) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.two_phase")
    parser.add_argument("--orders", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--away", type=float, default=60.0)
    given = parser.parse_args(argv)
    # A wallet that is busy is tried again: the table tells what that costs, the log need not.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as folder:
        Path(folder).chmod(0o755)
        with two_servers(Path(folder)) as servers:
            shop = Shop(servers, given.at_once)
            print_rates(shop, given.orders, given.at_once, given.rounds)
            if given.away:
                print_away(shop, servers["payments"], given.away)
            shop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
