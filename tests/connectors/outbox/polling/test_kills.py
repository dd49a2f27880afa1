"""Killed at every step, alone and side by side, and with servers that go away: nothing lost, nothing out of order."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from racing_writers import RacingWriters

from connectors.outbox.steps import Step
from tally.local.kafka import Kafka
from tally.local.postgres import Postgres

EACH_BATCH = (Step.CLAIMED, Step.BATCH_SENT, Step.BATCH_STORED, Step.STATUS_WRITTEN)


def kill_at(outbox: Any, step: Step, lives: int) -> list[Any]:
    """Lives that each end at the step, some at their second batch; then one that ends in order. Gives the records."""
    outbox.create_topic("t")
    rows = 0
    for life in range(lives):
        outbox.insert(rows + 1, rows + 20, rows_a_transaction=2)
        rows += 20
        process = outbox.spawn(TEST_KILL_AT=f"{step}:{1 + life % 2 if step in EACH_BATCH else 1}")
        while process.poll() is None:
            outbox.insert(rows + 1, rows + 5)
            rows += 5
        assert process.wait() == -signal.SIGKILL
    last = outbox.spawn()
    records = outbox.until_read(rows, outbox.topic("t"))
    # The one before may have published the last of them.
    outbox.until_written(rows)
    outbox.until_seated(1)
    last.send_signal(signal.SIGTERM)
    assert last.wait(60) == 0
    return records


@pytest.mark.parametrize("step", [Step.TAKEN_OVER, Step.STREAMING, *EACH_BATCH])
def test_one_process_killed_at_a_step_publishes_each_row_once(
    polled: Any, assert_effectively_once: Callable[..., int], step: Step
) -> None:
    assert assert_effectively_once(polled, kill_at(polled, step, 2)) == 0
    assert polled.sql("select distinct status from outbox") == [("PUBLISHED",)]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", EACH_BATCH)
def test_fifteen_lives_killed_at_a_step_publish_each_row_once(
    polled: Any, assert_effectively_once: Callable[..., int], step: Step
) -> None:
    assert assert_effectively_once(polled, kill_at(polled, step, 15)) == 0


def test_what_a_killed_process_left_open_is_ended_by_another(
    polled: Any, assert_effectively_once: Callable[..., int]
) -> None:
    """Until then no read_committed reader gets past it; Kafka itself would take two minutes."""
    polled.create_topic("t", 1)
    polled.insert(1, 10)
    dying = polled.spawn(TEST_KILL_AT=Step.BATCH_SENT)
    assert dying.wait(60) == -signal.SIGKILL
    killed = polled.spawn(TEST_KILL_AT=f"{Step.BATCH_SENT}:3")
    polled.until_written(10)
    running = polled.start().until_ready()
    first = 11
    while killed.poll() is None:
        polled.insert(first, first + 9)
        first += 10
    polled.until_written(first - 1)
    assert assert_effectively_once(polled, polled.until_read(first - 1, polled.topic("t"))) == 0
    assert running.end() == 0


def kill_side_by_side(outbox: Any, kills: int, seed: int) -> list[Any]:
    draw = random.Random(seed)
    print(f"seed {seed}")
    outbox.create_topic("t")
    processes = [outbox.spawn() for _ in range(2)]
    with RacingWriters(outbox.url, aggregates=12, seed=seed) as writers:
        for _ in range(kills):
            time.sleep(draw.uniform(0.2, 1.2))  # the moment of the kill is the random input
            which = draw.randrange(2)
            assert processes[which].poll() is None, processes[which].stderr.read().decode()
            processes[which].kill()
            processes[which].wait()
            processes[which] = outbox.spawn()
    assert writers.rolled_back > 5
    total = outbox.sql("select count(*) from outbox")[0][0]
    outbox.until_written(total)
    outbox.until_seated(len(processes))
    outbox.until_none_open(outbox.topic("t"))
    for process in processes:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    return outbox.read(outbox.topic("t"))


def test_two_processes_side_by_side_killed_in_turn_lose_nothing_and_keep_the_order(
    polled: Any, assert_effectively_once: Callable[..., int]
) -> None:
    assert_effectively_once(polled, kill_side_by_side(polled, 4, 3))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(3))
def test_two_processes_killed_sixty_times_lose_nothing_and_keep_the_order(
    polled: Any, assert_effectively_once: Callable[..., int], seed: int
) -> None:
    records = kill_side_by_side(polled, 60, seed)
    repeats = assert_effectively_once(polled, records)
    print(f"60 kills, {len(records) - repeats} rows, {repeats} repeats")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_database_and_a_broker_that_are_killed_are_waited_for(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    polled_pair: Callable[..., Any],
    assert_effectively_once: Callable[..., int],
    wait_until: Callable[..., Any],
) -> None:
    folder: Path = tmp_path_factory.mktemp("own_postgres")
    folder.chmod(0o755)
    # A server whose commits do not wait for the disk shows rows, and loses them when it is killed.
    database, broker = Postgres(folder), Kafka(tmp_path)
    database.start()
    broker.start()
    outbox = polled_pair(database.host, broker.bootstrap)
    try:
        outbox.create_topic("t")
        runnings = [outbox.start().until_ready() for _ in range(2)]
        with RacingWriters(outbox.url, aggregates=12):
            for _ in range(6):
                rows = sum(running.metrics.rows_total for running in runnings)
                wait_until(lambda rows=rows: sum(r.metrics.rows_total for r in runnings) > rows + 50, "carried")
                os.kill(database.pid, signal.SIGKILL)
                wait_until(lambda database=database: database.exit_code is not None, "the database's end")
                database = Postgres(folder, port=database.port)
                database.start()
                rows = sum(running.metrics.rows_total for running in runnings)
                wait_until(lambda rows=rows: sum(r.metrics.rows_total for r in runnings) > rows + 50, "carried")
                broker.kill()
                broker.launch()
                broker.wait_ready()
        outbox.until_written(outbox.sql("select count(*) from outbox")[0][0])
        assert [running.end() for running in runnings] == [0, 0]
        records = outbox.read(outbox.topic("t"))
        repeats = assert_effectively_once(outbox, records)
        print(f"6 database kills, 6 broker kills, {len(records) - repeats} rows, {repeats} repeats")
    finally:
        outbox.end_all()
        broker.stop()
        database.stop()
