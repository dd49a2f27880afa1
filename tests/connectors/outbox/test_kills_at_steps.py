"""Killed at every named step, again and again: each committed row comes exactly once all the same."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from connectors.outbox.steps import Step

LIVES = 3
# Reached only by a start that finds nothing stored.
FIRST_START = (Step.ANNOUNCED, Step.SLOT_MADE, Step.ROWS_BEFORE_SENT, Step.FIRST_STORED)


def assert_each_once(outbox: Any, last: int) -> None:
    records = outbox.until_read(last, outbox.topic("t"))
    assert sorted(int(record.value()) for record in records) == list(range(1, last + 1))
    by_key: dict[bytes, list[int]] = {}
    for record in records:
        by_key.setdefault(record.key(), []).append(int(record.value()))
    assert all(versions == sorted(versions) for versions in by_key.values())


@pytest.mark.parametrize("step", FIRST_START)
def test_a_first_start_killed_at_a_step_is_made_good_by_the_next(outbox: Any, step: Step) -> None:
    outbox.create_topic("t")
    outbox.insert(1, 30)
    assert outbox.spawn(TEST_KILL_AT=step).wait(60) == -signal.SIGKILL
    outbox.insert(31, 60)
    outbox.spawn()
    outbox.insert(61, 70)
    assert_each_once(outbox, 70)


@pytest.mark.parametrize("step", [Step.TAKEN_OVER, Step.STREAMING, Step.BATCH_SENT, Step.BATCH_STORED])
def test_a_life_killed_at_a_step_is_made_good_by_the_next(outbox: Any, step: Step) -> None:
    kill_at(outbox, step, LIVES)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", [Step.TAKEN_OVER, Step.STREAMING, Step.BATCH_SENT, Step.BATCH_STORED])
def test_fifteen_lives_killed_at_a_step_are_made_good(outbox: Any, step: Step) -> None:
    kill_at(outbox, step, 15)


def kill_at(outbox: Any, step: Step, lives: int) -> None:
    outbox.create_topic("t")
    outbox.start().until_ready().end()
    rows = 0
    for life in range(lives):
        outbox.insert(rows + 1, rows + 20, rows_a_transaction=2)
        rows += 20
        # Sometimes at a later batch of the same life; rows that come while it runs make one.
        process = outbox.spawn(
            TEST_KILL_AT=f"{step}:{1 + life % 2 if step in (Step.BATCH_SENT, Step.BATCH_STORED) else 1}"
        )
        while process.poll() is None:
            outbox.insert(rows + 1, rows + 5)
            rows += 5
        assert process.wait() == -signal.SIGKILL
    outbox.spawn()
    assert_each_once(outbox, rows)
