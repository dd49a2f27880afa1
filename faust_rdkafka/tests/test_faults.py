"""Exactly once under kill -9, joining and leaving workers, and workers that wake after their successor."""

from __future__ import annotations

import collections
import signal
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

KEYS = 50


class Run:
    """One app's topics and the commands sent to it."""

    def __init__(self, broker: Any, workers: Any, count: int, **settings: str) -> None:
        self.broker, self.workers, self.count = broker, workers, count
        self.app, self.src, self.out = broker.name("fold"), broker.topic("src"), broker.topic("out")
        self.settings = {"app": self.app, "src": self.src, "out": self.out, **settings}
        broker.send(self.src, *[(f"k{n % KEYS}", {"n": n, "quantity": n % 7}) for n in range(count)])

    def send_more(self, count: int) -> None:
        numbers = range(self.count, self.count + count)
        self.broker.send(self.src, *[(f"k{n % KEYS}", {"n": n, "quantity": n % 7}) for n in numbers])
        self.count += count

    def members(self) -> list[Any]:
        """The members of the group that own partitions."""
        return [m for m in self.broker.members(self.app) if m.assignment.topic_partitions]

    def start(self, instance: str = "0", **more: str) -> Any:
        return self.workers.start(instance=instance, **self.settings, **more)

    def done(self) -> int:
        return self.broker.committed(self.app, self.src)

    def finished(self) -> bool:
        return self.done() >= self.count

    def check(self, without: int = -1) -> None:
        """Each command has exactly one outcome, the one of a sequential fold; the changelog is the fold's end."""
        expected, state = {}, {}
        for message in self.broker.read(self.src):
            command = orjson.loads(message.value())
            if command["n"] == without:
                continue
            place = (message.partition(), message.key().decode())
            old = state.get(place, {"total": 0, "version": 0})
            row = {"total": old["total"] + command["quantity"], "version": old["version"] + 1}
            state[place] = row
            expected[command["n"]] = {"n": command["n"], **row}
        outcomes = [orjson.loads(m.value()) for m in self.broker.read(self.out)]
        assert len(outcomes) == len(expected)
        assert {o["n"]: o for o in outcomes} == expected
        assert self.broker.table(f"{self.app}-fold-changelog") == state


STEPS = ("before produce", "after produce", "after send offsets", "after flush", "after commit")


def kill_at_each_step(run: Run, until: Any, rounds: int) -> None:
    for step in STEPS * rounds:
        process = run.start(die_at=step)
        until(lambda process=process: process.poll() is not None)
        assert process.returncode == -signal.SIGKILL, step
    process = run.start()
    until(run.finished, 60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    run.check()


def test_a_worker_killed_at_each_step_of_a_transaction_does_each_command_once(
    broker: Any, workers: Any, until: Any
) -> None:
    kill_at_each_step(Run(broker, workers, 2_000, records_max="20"), until, rounds=1)


@pytest.mark.slow
def test_a_worker_killed_many_times_at_each_step_does_each_command_once(broker: Any, workers: Any, until: Any) -> None:
    kill_at_each_step(Run(broker, workers, 20_000, records_max="20"), until, rounds=10)


def test_a_batch_worker_killed_at_random_moments_does_each_command_once(
    broker: Any, workers: Any, kill_at_random: Any
) -> None:
    kill_at_random(Run(broker, workers, 20_000, records_max="50"), kills=6)


def test_a_record_worker_killed_at_random_moments_does_each_command_once(
    broker: Any, workers: Any, kill_at_random: Any
) -> None:
    kill_at_random(Run(broker, workers, 6_000, mode="record", records_max="20"), kills=3)


@pytest.mark.slow
def test_a_worker_killed_many_times_does_each_command_once(broker: Any, workers: Any, kill_at_random: Any) -> None:
    kill_at_random(Run(broker, workers, 300_000, records_max="100"), kills=60)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_workers_join_and_leave_under_load(broker: Any, workers: Any, until: Any, protocol: str) -> None:
    run = Run(broker, workers, 20_000, records_max="20", protocol=protocol)
    first = run.start("0")
    until(lambda: run.done() > 0)
    second = run.start("1")
    before = run.done()
    until(lambda: run.done() > before + 2_000 or run.finished())
    second.kill()
    second.wait()
    second = run.start("1")
    until(run.finished, 60)
    for process in (first, second):
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    run.check()


@pytest.mark.parametrize("place", ["batch", "timer"])
def test_a_worker_that_wakes_with_work_in_hand_writes_nothing_twice(
    broker: Any, workers: Any, until: Any, tmp_path: Path, place: str
) -> None:
    """Removed by the group while it slept, it is refused, joins again and works on. Ticks count a row up in timers."""
    ticks = broker.topic("ticks")
    run = Run(broker, workers, 2_000, records_max="20", ticks=ticks, hold=place, gate=str(tmp_path))
    zombie = run.start("0")
    until(lambda: run.done() > 0)
    (tmp_path / "hold").touch()
    until(lambda: (tmp_path / "held").exists() or run.send_more(20))
    zombie.send_signal(signal.SIGSTOP)
    heir = run.start("1")
    until(run.finished, 60)
    run.send_more(200)
    until(run.finished)
    (tmp_path / "go").touch()
    zombie.send_signal(signal.SIGCONT)
    until(lambda: len(run.members()) == 2)
    run.send_more(2_000)
    until(run.finished)
    for process in (zombie, heir):
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    run.check()
    counts = collections.defaultdict(list)
    for message in broker.read(ticks):
        counts[message.partition()].append(orjson.loads(message.value()))
    assert len(counts) == 4
    for found in counts.values():
        assert found == list(range(1, len(found) + 1))


def test_a_record_that_kills_the_process_is_found_and_set_aside(
    broker: Any, workers: Any, until: Any, tmp_path: Path
) -> None:
    """No other record is lost or done twice; each death costs a start."""
    letters = broker.topic("letters")
    run = Run(broker, workers, 400, datadir=str(tmp_path), letters=letters, deadly="137")
    process, deaths = run.start(), 0

    def finished() -> bool:
        nonlocal process, deaths
        if process.poll() is not None:
            assert process.returncode == -signal.SIGKILL
            deaths += 1
            process = run.start()
        return run.finished()

    until(finished, 120)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    (found,) = broker.read(letters)
    assert orjson.loads(found.value())["n"] == 137
    assert found.headers() == [("reason", b"FAILED: EndsTheProcess")]
    run.check(without=137)
    assert deaths <= 10
    assert not list(tmp_path.glob("*.in-work"))


@pytest.mark.slow
def test_a_broker_that_goes_away_and_comes_back_costs_no_command(workers_of: Any, own_broker: Any, until: Any) -> None:
    """A transaction older than its time-out is fenced by the broker: then the worker ends and is started again."""
    broker, server = own_broker
    run = Run(broker, workers_of(broker), 2_000, records_max="20")
    process = run.start()
    until(lambda: run.done() > 0)
    server.kill()
    time.sleep(5)  # the outage itself
    server.start()
    run.send_more(2_000)

    def finished() -> bool:
        nonlocal process
        if process.poll() is not None:
            assert process.returncode == 70
            process = run.start()
        return run.finished()

    until(finished, 90)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    run.check()
