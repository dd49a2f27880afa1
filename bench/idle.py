"""Idle workers: processor time, wake-ups and memory of workers that have nothing to do, on a broker of their own.

    python -m bench.idle [--seconds N] [--threads] [--only NAME]

One worker of faust_rdkafka alone (the one of bench.reservations, both stores) and Tally's own, one after the other.
A wake-up is a voluntary context switch of any thread. The broker's share is what the idle worker costs it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.reservations.measure import cpu_s
from bench.reservations.topics import make
from tally.local.kafka import Kafka
from tally.local.ports import free_ports

READY_WITHIN_S, SETTLE_S, END_WITHIN_S = 60.0, 10.0, 30.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a process: CPU seconds, resident MB, wake-ups and CPU seconds by thread."""

    cpu_s: float
    memory_mb: float
    wakes: Counter[str]
    cpu_by_thread: dict[str, float]


def look(pid: int) -> Look:
    """At all threads that are there; one that ends meanwhile is left out."""
    wakes, used = Counter[str](), dict[str, float]()
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            status = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
            name = f"{task.name} {status['Name'].strip()}"
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
        except FileNotFoundError:
            continue
        wakes[name] = int(status["voluntary_ctxt_switches"])
        used[name] = (int(fields[11]) + int(fields[12])) / _TICKS
    memory = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return Look(cpu_s(pid), int(memory.split()[1]) / 1024, wakes, used)


def watch(name: str, process: subprocess.Popen[bytes], broker_pid: int, seconds: float, *, threads: bool) -> None:
    """One line; with `threads` one more for each thread that woke."""
    pause = threading.Event()
    pause.wait(SETTLE_S)
    before, broker, began = look(process.pid), cpu_s(broker_pid), time.monotonic()
    pause.wait(seconds)
    after, lasted = look(process.pid), time.monotonic() - began
    if process.poll() is not None:
        raise RuntimeError(f"{name} ended with {process.returncode}")
    wakes = after.wakes - before.wakes
    print(
        f"{name:36} {(after.cpu_s - before.cpu_s) / lasted:8.2%} {sum(wakes.values()) / lasted:8.0f}"
        f" {after.memory_mb:6.0f} {(cpu_s(broker_pid) - broker) / lasted:8.2%}",
        flush=True,
    )
    for thread, count in wakes.most_common() if threads else ():
        share = (after.cpu_by_thread[thread] - before.cpu_by_thread.get(thread, 0.0)) / lasted
        print(f"    {thread:32} {share:8.2%} {count / lasted:8.1f}")


def faust_worker(bootstrap: str, folder: Path, store: str) -> subprocess.Popen[bytes]:
    """The worker of bench.reservations, with a source that gets nothing."""
    source, target = f"idle-{store}", f"idle-{store}-outcomes"
    make(bootstrap, source, target)
    arguments = [f"idle-{store}", bootstrap, source, target, "json", store, str(folder / store), "0"]
    with (folder / f"{store}.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "bench.reservations.worker", *arguments], stdout=log, stderr=log)


def tally_worker(bootstrap: str, folder: Path) -> subprocess.Popen[bytes]:
    """Tally's worker with all its topics, ready."""
    environment = {**os.environ, "TALLY_KAFKA_BOOTSTRAP": bootstrap, "TALLY_DATA_DIR": str(folder)}
    topics = [sys.executable, "-m", "tally.cli", "topics", "create"]
    subprocess.run(topics, env=environment, check=True, stdout=subprocess.DEVNULL)
    port = free_ports(1)[0]
    with (folder / "tally.log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "streams", "--port", str(port)], env=environment, stdout=log, stderr=log
        )
    ends_at, pause = time.monotonic() + READY_WITHIN_S, threading.Event()
    while time.monotonic() < ends_at:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
                return worker
        except OSError:
            pause.wait(0.1)
    worker.kill()
    raise RuntimeError((folder / "tally.log").read_text()[-2000:])


def main(argv: list[str]) -> int:
    """Starts a broker, and each worker in turn."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the measured window")
    parser.add_argument("--threads", action="store_true", help="each thread's share and wake-ups too")
    parser.add_argument("--only", default="", help="workers whose name holds this")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as name:
        folder = Path(name)
        server = Kafka(folder / "broker")
        server.start()
        contenders = {
            "faust_rdkafka, memory store": lambda: faust_worker(server.bootstrap, folder, "memory"),
            "faust_rdkafka, rocksdb store": lambda: faust_worker(server.bootstrap, folder, "rocksdb"),
            "tally worker": lambda: tally_worker(server.bootstrap, folder),
        }
        try:
            print(f"{'':36} {'of a core':>9} {'wakes/s':>7} {'MB':>6} {'broker':>8}")
            for title, start in contenders.items():
                if given.only not in title:
                    continue
                process = start()
                try:
                    watch(title, process, server.pid, given.seconds, threads=given.threads)
                finally:
                    process.terminate()
                    process.wait(END_WITHIN_S)
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
