"""One app under faults: its topics, its commands, its workers as processes, and what came out in the end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from bench.reservations.topics import make
from bench.reservations.verify import read
from bench.reservations.work import PARTITIONS

KEYS = 50
LOOK_S = 0.02
END_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of the commands that the group has committed; all but the first should be 0. `rows`: of the changelog."""

    commands: int
    duplicates: int
    lost: int
    wrong: int
    rows: int

    @property
    def right(self) -> bool:
        return not (self.duplicates or self.lost or self.wrong or self.rows)


class Trial:
    def __init__(self, kind: str, bootstrap: str, folder: Path) -> None:
        self.app = f"fold-{kind}-{uuid.uuid4().hex[:8]}"
        self.source, self.target, self.changelog = f"{self.app}-in", f"{self.app}-out", f"{self.app}-fold-changelog"
        self.folder = folder / self.app
        self.folder.mkdir()
        self.count = 0
        self._bootstrap, self._kind = bootstrap, kind
        # Never joins the group.
        self._asker = Consumer({"bootstrap.servers": bootstrap, "group.id": self.app, "log_level": 2})
        self._producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "log_level": 2})
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        make(bootstrap, self.source, self.target)
        make(bootstrap, self.changelog, compacted=True)

    def send(self, count: int) -> None:
        for n in range(self.count, self.count + count):
            self._producer.produce(self.source, orjson.dumps({"n": n, "quantity": n % 7}), f"k{n % KEYS}".encode())
        self._producer.flush()
        self.count += count

    # -- workers

    def start(self, instance: str) -> subprocess.Popen[bytes]:
        arguments = [self._kind, self.app, self._bootstrap, self.source, self.target, str(self.folder), instance]
        with (self.folder / "workers.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.faults.worker", *arguments], stdout=log, stderr=log
            )
        self.running[instance] = process
        return process

    def kill(self, instance: str) -> None:
        process = self.running.pop(instance)
        process.kill()
        process.wait()

    def stop(self, instance: str) -> None:
        """In order; one that does not end in time is killed, as a supervisor would."""
        process = self.running.pop(instance)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def revive(self) -> None:
        """A supervisor's part: what has ended by itself is started again."""
        for instance, process in list(self.running.items()):
            if process.poll() is not None:
                self.start(instance)

    def end(self) -> None:
        for instance in list(self.running):
            self.running[instance].send_signal(signal.SIGCONT)
            self.stop(instance)

    # -- how far it is

    def done(self) -> int:
        """Commands that the group has committed."""
        return sum(self._committed().values())

    def until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Whether it came true in time; workers that end meanwhile are started again."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.revive()
            time.sleep(LOOK_S)
        return True

    def finished(self) -> bool:
        return self.done() >= self.count

    def _committed(self) -> dict[int, int]:
        try:
            found = self._asker.committed([TopicPartition(self.source, number) for number in range(PARTITIONS)], 10)
        except KafkaException:  # its coordinator is not known yet
            return {}
        return {tp.partition: max(tp.offset, 0) for tp in found}

    # -- what came out

    def verdict(self) -> Verdict:
        """Against a sequential fold of the committed commands, as a read_committed reader sees it."""
        committed = self._committed()
        expected: dict[int, dict[str, int]] = {}
        state: dict[str, dict[str, int]] = {}
        for message in read(self._bootstrap, self.source):
            if message.offset() < committed.get(message.partition(), 0):
                command, key = orjson.loads(message.value()), message.key().decode()
                old = state.get(key, {"total": 0, "version": 0})
                state[key] = {"total": old["total"] + command["quantity"], "version": old["version"] + 1}
                expected[command["n"]] = {"n": command["n"], **state[key]}
        found: dict[int, list[Any]] = {}
        for message in read(self._bootstrap, self.target):
            outcome = orjson.loads(message.value())
            found.setdefault(outcome["n"], []).append(outcome)
        rows = {_key(m.key()): orjson.loads(m.value()) for m in read(self._bootstrap, self.changelog) if m.value()}
        return Verdict(
            commands=len(expected),
            duplicates=sum(len(outcomes) - 1 for outcomes in found.values()),
            lost=sum(n not in found for n in expected),
            wrong=sum(any(outcome != expected[n] for outcome in found[n]) for n in expected if n in found),
            rows=sum(rows.get(key) != row for key, row in state.items()),
        )


def _key(data: bytes) -> str:
    """Stock Faust's changelogs have keys in JSON."""
    return data.decode().strip('"')
