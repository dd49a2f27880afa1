"""The figures, one function a section; each prints its lines with the bounds that are asked for."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.outbox.carriers import Carrier, Connector

RATES = (500, 2_000)
# So many transactions a second at any rate: what differs is how much they hold.
TRANSACTIONS_A_SECOND = 500
# What a JVM does in its first seconds is not what is measured.
WARM_UP_S = 10
IDLE_S = 20
SETTLE_S = 3
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of each; `rounds` repeats what is compared, in turns, and each fault."""

    rows: int
    seconds: int
    rounds: int


def say(line: str) -> None:
    print(line, flush=True)


def backlog(carriers: Sequence[Carrier], scale: Scale, rows_a_transaction: int) -> None:
    """Rows that were written while the carrier was frozen, from its going on to the last one visible."""
    say(f"warm backlog of {scale.rows:,} rows, {rows_a_transaction} a transaction; CPU s per 100,000 rows (< 0.8)")
    paces: dict[str, list[float]] = {}
    for _ in range(scale.rounds):
        for carrier in carriers:
            pace, cpu_s = _drain(carrier, scale.rows, rows_a_transaction)
            paces.setdefault(carrier.kind, []).append(pace)
            peak_mb = carrier.usage().resident_mb
            say(f"  {carrier.kind:10} {pace:9,.0f} rows/s  {cpu_s:5.2f} CPU s  {peak_mb:4.0f} MB at most")
    ours = statistics.median(paces.pop(Connector.kind))
    for peer, theirs in paces.items():
        say(f"  times the {peer}, medians: {ours / statistics.median(theirs):.1f} (floor 2, aim 3)")


def _drain(carrier: Carrier, rows: int, rows_a_transaction: int) -> tuple[float, float]:
    """Rows a second, CPU seconds per 100,000."""
    carrier.freeze()
    carrier.load(rows, rows_a_transaction)
    before, began = carrier.usage(), carrier.thaw()
    pace = rows / (carrier.visible.until(rows) - began)
    return pace, (carrier.usage().cpu_s - before.cpu_s) * 100_000 / rows


def million(connector: Connector) -> None:
    """One transaction of a million rows."""
    pace, cpu_s = _drain(connector, MILLION, MILLION)
    say(f"one transaction of {MILLION:,} rows: {pace:,.0f} rows/s, {cpu_s:.2f} CPU s per 100,000")
    say(f"  memory: {connector.usage().resident_mb:.0f} MB at most since the start (< 80)")


def latency(carriers: Sequence[Carrier], scale: Scale) -> None:
    """Return of COMMIT to the hands of a read_committed consumer that returns at the first record."""
    say(
        f"COMMIT to visible, {scale.seconds} s each (p50 < 15, aim 8; p99 < 60, aim 30 ms; < 10 % of a core at 2,000/s)"
    )
    for carrier in carriers:
        _trickle(carrier, RATES[0], WARM_UP_S)
    for rate in RATES:
        for _ in range(scale.rounds):
            for carrier in carriers:
                say(_trickle(carrier, rate, scale.seconds))


def _trickle(carrier: Carrier, rate: int, seconds: int) -> str:
    """The line of an even pace of rows."""
    rows_a_transaction = rate // TRANSACTIONS_A_SECOND
    arguments = [carrier.url, str(rate), str(seconds), str(rows_a_transaction)]
    before, rows = carrier.usage(), rate * seconds
    writer = subprocess.Popen(
        [sys.executable, "-m", "bench.outbox.writing", *arguments], stdout=subprocess.PIPE, text=True
    )
    seen = {int(value.lstrip(b".")): at for at, value in carrier.visible.read(rows)}
    cpu_s = carrier.usage().cpu_s - before.cpu_s
    committed = json.loads(writer.communicate()[0])
    waits_ms = sorted((at - committed[number // rows_a_transaction]) * 1000 for number, at in seen.items())
    p50, p99, p999 = (waits_ms[int(len(waits_ms) * part)] for part in (0.5, 0.99, 0.999))
    return (
        f"  {carrier.kind:10} {rate:5,}/s  p50 {p50:6.1f}  p99 {p99:6.1f}  p99.9 {p999:6.1f} ms"
        f"  {100 * cpu_s / seconds:5.1f} % of a core"
    )


def idle(carriers: Sequence[Carrier]) -> None:
    """Nothing is written."""
    time.sleep(SETTLE_S)
    before = [carrier.usage().cpu_s for carrier in carriers]
    time.sleep(IDLE_S)
    for carrier, cpu_s in zip(carriers, before, strict=True):
        say(f"idle: {carrier.kind:10} {100 * (carrier.usage().cpu_s - cpu_s) / IDLE_S:5.2f} % of a core (< 1)")


def start(connector: Connector, scale: Scale) -> None:
    """From the start of the process to a row that waits there."""

    def once() -> float:
        connector.process.terminate()
        connector.process.wait(30)
        connector.insert(1, 1)
        began = time.time()
        connector.launch()
        return _first(connector, 1) - began

    _faults("first row after a start (< 1)", scale, once)


def kill(connector: Connector, scale: Scale) -> None:
    """From the new start after kill -9 under load to a row that was committed after it."""

    def once() -> float:
        connector.insert(1, 1_000)
        connector.process.kill()
        connector.process.wait()
        began = time.time()
        connector.launch()
        connector.insert(1, 1)
        return _first(connector, 1_001) - began

    _faults("first new row after kill -9, from the new start (median < 2)", scale, once)


def walsender(connector: Connector, scale: Scale) -> None:
    """From the end of the walsender to a row committed just after it."""

    def once() -> float:
        began = time.time()
        connector.lose_walsender()
        connector.insert(1, 1)
        return _first(connector, 1) - began

    _faults("a row after a lost walsender (< 0.5)", scale, once)


def _first(connector: Connector, rows: int) -> float:
    return max(at for at, _ in connector.visible.read(rows))


def _faults(what: str, scale: Scale, once: Callable[[], float]) -> None:
    took = [once() for _ in range(2 * scale.rounds + 1)]
    say(f"{what}: median {statistics.median(took):.2f} s of {len(took)}, worst {max(took):.2f}")
