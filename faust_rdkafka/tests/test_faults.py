"""Exactly once under kill -9, joining and leaving workers, and workers that wake after their successor."""

from __future__ import annotations

import collections
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from faust.types import TP
from fold_run import FoldRun

from faust_rdkafka import App

KEYS = 50
EXIT_FATAL = 70
OUTAGES_S = (5,)
LOOP_WITHIN_S = 1800  # a kill and a start take two seconds on a quiet machine, ten on one that has other work


@pytest.fixture
def fold(broker: Any, workers: Any, until: Any, tmp_path: Path) -> Callable[..., FoldRun]:
    return lambda count, **settings: FoldRun(broker, workers, until, tmp_path, count, KEYS, **settings)


STEPS = ("before produce", "after produce", "after send offsets", "after flush", "after commit")


def kill_at_each_step(run: FoldRun, until: Any, rounds: int) -> None:
    for step in STEPS * rounds:
        run.keep_ahead(200)
        process = run.start(die_at=step)
        until(lambda process=process: process.poll() is not None)
        assert process.returncode == -signal.SIGKILL, step
    run.finish(run.start())
    run.check()


def test_a_worker_killed_at_each_step_of_a_transaction_does_each_command_once(fold: Any, until: Any) -> None:
    kill_at_each_step(fold(2_000, records_max="20"), until, rounds=1)


def test_a_batch_worker_killed_at_random_moments_does_each_command_once(fold: Any, kill_at_random: Any) -> None:
    kill_at_random(fold(20_000, records_max="50"), kills=6)


def test_a_record_worker_killed_at_random_moments_does_each_command_once(fold: Any, kill_at_random: Any) -> None:
    kill_at_random(fold(6_000, mode="record", records_max="20"), kills=3)


@pytest.mark.slow
@pytest.mark.timeout(LOOP_WITHIN_S)
@pytest.mark.parametrize("mode", ["batch", "record"])
def test_a_worker_killed_many_times_does_each_command_once(
    fold: Any, kill_at_random: Any, soak: Any, mode: str
) -> None:
    run = fold(5_000, records_max="50", mode=mode)
    kill_at_random(run, kills=25, ahead=5_000)
    soak(run, "25 kills at random")


def join_and_leave(run: FoldRun, until: Any, times: int) -> None:
    """A second worker comes and goes under load, in turns by kill -9 and in order."""
    first = run.start("0")
    until(lambda: run.done() > 0)
    for number in range(times):
        second = run.start("1")
        until(lambda: len(run.members()) == 2)
        run.keep_ahead(4_000)
        before = run.done()
        until(lambda before=before: run.done() > before + 2_000)
        if number % 2:
            second.send_signal(signal.SIGTERM)
            assert second.wait(60) == 0
        else:
            second.kill()
            second.wait()
    run.finish(first, run.start("1"))
    run.check()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_workers_join_and_leave_under_load(fold: Any, until: Any, protocol: str) -> None:
    join_and_leave(fold(10_000, records_max="20", protocol=protocol), until, times=1)


@pytest.mark.slow
@pytest.mark.timeout(LOOP_WITHIN_S)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_workers_join_and_leave_many_times(fold: Any, until: Any, soak: Any, protocol: str) -> None:
    run = fold(10_000, records_max="20", protocol=protocol)
    join_and_leave(run, until, times=8)
    soak(run, "8 joins and leaves")


def wake_zombies(run: FoldRun, until: Any, gate: Path, times: int) -> None:
    """Instance 0 sleeps with work in hand until the group has removed it and instance 1 has done its work."""
    zombie = run.start("0")
    until(lambda: run.done() > 0)
    heir = None
    for _ in range(times):
        (gate / "hold").touch()
        until(lambda: (gate / "held").exists() or run.send(20))
        zombie.send_signal(signal.SIGSTOP)
        heir = heir or run.start("1", hold="")
        until(run.finished, 60)
        run.send(200)
        until(run.finished, 60)
        (gate / "hold").unlink()
        (gate / "go").touch()
        zombie.send_signal(signal.SIGCONT)
        until(lambda: len(run.members()) == 2)
        run.send(2_000)
        until(run.finished)
        (gate / "go").unlink()
        (gate / "held").unlink()
    run.finish(zombie, heir)
    run.check()


@pytest.mark.parametrize("place", ["batch", "timer"])
def test_a_worker_that_wakes_with_work_in_hand_writes_nothing_twice(
    broker: Any, fold: Any, until: Any, tmp_path: Path, place: str
) -> None:
    """Removed by the group while it slept, it is refused, joins again and works on. Ticks count a row up in timers."""
    ticks = broker.topic("ticks")
    run = fold(2_000, records_max="20", ticks=ticks, hold=place, gate=str(tmp_path))
    wake_zombies(run, until, tmp_path, times=1)
    check_ticks(broker, ticks)


@pytest.mark.slow
@pytest.mark.timeout(LOOP_WITHIN_S)
def test_a_worker_that_wakes_many_times_writes_nothing_twice(
    broker: Any, fold: Any, until: Any, soak: Any, tmp_path: Path
) -> None:
    ticks = broker.topic("ticks")
    run = fold(2_000, records_max="20", ticks=ticks, hold="batch", gate=str(tmp_path))
    wake_zombies(run, until, tmp_path, times=5)
    check_ticks(broker, ticks)
    soak(run, "5 zombies")


def check_ticks(broker: Any, ticks: str) -> None:
    """Each partition's ticks are dense from 1: none twice, none lost."""
    counts = collections.defaultdict(list)
    for message in broker.read(ticks):
        counts[message.partition()].append(orjson.loads(message.value()))
    assert len(counts) == 4
    for found in counts.values():
        assert found == list(range(1, len(found) + 1))


async def test_end_offsets_are_told_again_once_a_killed_broker_is_back(own_broker: Any) -> None:
    """Its partitions have another leader epoch then than the client remembers."""
    broker, server = own_broker
    app = App(broker.name("app"), broker=broker.url, instance="0", web_enabled=False)
    place = TP(broker.topic("src"), 0)
    broker.send(place.topic, ("k", 1))
    assert await app.consumer.end_offsets([place]) == {place: 1}
    server.kill()
    server.start()
    assert await app.consumer.end_offsets([place]) == {place: 1}


def test_an_idle_worker_whose_place_in_the_group_another_took_ends(fold: Any, until: Any) -> None:
    run = fold(200)
    first = run.start()
    until(run.finished)
    twin = run.start()
    assert first.wait(60) == EXIT_FATAL
    run.send(200)
    run.finish(twin)
    run.check()


def test_a_transaction_that_times_out_is_undone_and_its_commands_are_done_once(
    broker: Any, fold: Any, until: Any, soak: Any, tmp_path: Path
) -> None:
    """The worker sleeps in an open transaction until the broker has aborted it; then it is fenced and ends."""
    run = fold(2_000, records_max="20", hold="transaction", gate=str(tmp_path), transaction_timeout_ms="3000")
    process = run.start()
    until(lambda: run.done() > 0)
    (tmp_path / "hold").touch()
    until(lambda: (tmp_path / "held").exists() or run.send(20))
    before = run.done()
    assert not broker.is_settled(run.out)
    until(lambda: broker.is_settled(run.out))
    (tmp_path / "go").touch()
    assert process.wait(60) == EXIT_FATAL
    assert run.done() == before
    run.finish(run.start(hold=""))
    run.check()
    soak(run, "1 transaction timed out")


def test_a_record_that_kills_the_process_is_found_and_set_aside(
    broker: Any, fold: Any, until: Any, tmp_path: Path
) -> None:
    """No other record is lost or done twice; each death costs a start."""
    letters = broker.topic("letters")
    run = fold(400, datadir=str(tmp_path), letters=letters, deadly="137")
    process, deaths = run.start(), 0

    def finished() -> bool:
        nonlocal process, deaths
        if process.poll() is not None:
            assert process.returncode == -signal.SIGKILL
            deaths += 1
            process = run.start()
        return run.finished()

    until(finished, 120)
    run.finish(process)
    (found,) = broker.read(letters)
    assert orjson.loads(found.value())["n"] == 137
    assert found.headers() == [("reason", b"FAILED: EndsTheProcess")]
    run.check(without=137)
    assert deaths <= 10
    assert not list(tmp_path.glob("*.in-work"))


@pytest.mark.slow
@pytest.mark.timeout(LOOP_WITHIN_S)
def test_a_broker_that_goes_away_and_comes_back_costs_no_command(
    workers_of: Any, own_broker: Any, until: Any, soak: Any, tmp_path: Path
) -> None:
    """A transaction older than its time-out is fenced by the broker: then the worker ends and is started again."""
    broker, server = own_broker
    run = FoldRun(broker, workers_of(broker), until, tmp_path, 2_000, KEYS, records_max="20")
    process = run.start()
    for outage_s in OUTAGES_S:
        before = run.done()
        run.send(2_000)
        until(lambda before=before: run.done() > before)
        server.kill()
        time.sleep(outage_s)  # the outage itself
        server.start()

        def finished() -> bool:
            nonlocal process
            if process.poll() is not None:
                assert process.returncode == EXIT_FATAL
                process = run.start()
            return run.finished()

        until(finished, 90)
    run.finish(process)
    run.check()
    soak(run, f"{len(OUTAGES_S)} kill of the broker")
