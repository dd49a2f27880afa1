"""Runs a contender over a filled topic and says what that cost; committed offsets are polled, no reader competes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition

from bench.reservations.work import PARTITIONS

LIMIT_S = 400.0
END_WITHIN_S = 30.0
LOOK_S = 0.1
# The thirds leave out the start and the last batches, as the whole rate does not.
THIRDS = ((0.05, 0.33), (0.33, 0.66), (0.66, 0.98))
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figures:
    """`whole` counts from the start of the process to the last commit; rates are records a second."""

    records: int
    whole: float
    thirds: tuple[float, ...]
    cpu_s: float
    broker_cpu_s: float
    memory_mb: float

    @property
    def warm(self) -> float:
        return self.thirds[-1]


class Running:
    """The processes of one contender."""

    def __init__(self, commands: Sequence[Sequence[str]], log: Path) -> None:
        with log.open("ab") as out:
            self._all = [subprocess.Popen(command, stdout=out, stderr=out) for command in commands]

    def ended(self) -> bool:
        return any(process.poll() is not None for process in self._all)

    def cpu_s(self) -> float:
        return sum(cpu_s(process.pid) for process in self._all)

    def memory_mb(self) -> float:
        """The highest resident size, summed over the processes."""
        return sum(_mb(process.pid, "VmHWM") for process in self._all)

    def resident_mb(self) -> float:
        """The resident size now, summed over the processes."""
        return sum(resident_mb(process.pid) for process in self._all)

    def stop(self) -> None:
        for process in self._all:
            process.send_signal(signal.SIGTERM)
        for process in self._all:
            try:
                process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mb(pid: int) -> float:
    return _mb(pid, "VmRSS")


def _mb(pid: int, field: str) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def measure(running: Running, bootstrap: str, group: str, source: str, count: int, broker_pid: int | None) -> Figures:
    """Watch until all records are committed. Raises RuntimeError when the contender ends or takes too long."""
    asker = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    places = [TopicPartition(source, number) for number in range(PARTITIONS)]
    broker_before = cpu_s(broker_pid) if broker_pid else 0.0
    began = time.monotonic()
    points = [(0.0, 0)]
    try:
        while points[-1][1] < count:
            if running.ended() or time.monotonic() - began > LIMIT_S:
                raise RuntimeError(f"{points[-1][1]} of {count} records after {points[-1][0]:.0f} s")
            time.sleep(LOOK_S)
            try:
                done = sum(max(place.offset, 0) for place in asker.committed(places, 10))
            except KafkaException:  # the group is being made
                continue
            points.append((time.monotonic() - began, done))
        broker = cpu_s(broker_pid) - broker_before if broker_pid else 0.0
        thirds = tuple(_rate(points, count * start, count * end) for start, end in THIRDS)
        return Figures(count, count / points[-1][0], thirds, running.cpu_s(), broker, running.memory_mb())
    finally:
        asker.close()


def _rate(points: list[tuple[float, int]], start: float, end: float) -> float:
    return (end - start) / max(_when(points, end) - _when(points, start), 1e-9)


def _when(points: list[tuple[float, int]], count: float) -> float:
    """The second at which so many were done, on a line between two looks."""
    (before, less), (after, more) = next(pair for pair in pairwise(points) if pair[1][1] >= count)
    return before + (after - before) * (count - less) / max(more - less, 1)
