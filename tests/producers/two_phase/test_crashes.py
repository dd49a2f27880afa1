"""A kill -9 and a stall of coordinator and servers at every step of a two-phase commit: both have the row, or neither."""

from __future__ import annotations

import os
import signal
from typing import Any

import psycopg
import pytest
from two_phase_pair import Apart, Pair, until_stopped
from two_phase_steps import ABORT_STEPS, COMMIT_STEPS, COMMITTED, Matrix, cases

STEPS = COMMIT_STEPS + ABORT_STEPS
SAMPLE = frozenset({"after prepare orders", "before decision", "after decision", "after commit orders"})
SAMPLE |= {"before abort orders"}
# Of a pool of the coordinator's process (`two_phase_coordinator.py`).
BACKENDS = "select pid from pg_stat_activity where application_name = %s"


@pytest.mark.parametrize("step", cases(STEPS, SAMPLE))
def test_a_coordinator_killed_at_any_step_leaves_both_or_neither(pair: Pair, matrix: Matrix, step: str) -> None:
    process, id_ = pair.start(step, signal.SIGKILL, is_refused=step in ABORT_STEPS)
    assert process.wait(60) == -signal.SIGKILL
    pair.settle()
    assert pair.there(id_) == ((True, True) if step in COMMITTED else (False, False))
    note(matrix, step, "coordinator killed", pair, id_)


@pytest.mark.parametrize("step", cases(STEPS, SAMPLE))
def test_a_coordinator_that_stalls_while_recovery_acts_and_goes_on_splits_nothing(
    pair: Pair, matrix: Matrix, step: str
) -> None:
    process, id_ = pair.start(step, signal.SIGSTOP, is_refused=step in ABORT_STEPS)
    until_stopped(process)
    pair.settle()
    os.kill(process.pid, signal.SIGCONT)
    goes_on_to_what_stands(pair, process, id_)
    note(matrix, step, "coordinator stalled", pair, id_)


@pytest.mark.parametrize("step", cases(STEPS, frozenset({"before prepare payments"})))
def test_a_participant_that_stalls_while_recovery_acts_and_goes_on_splits_nothing(
    pair: Pair, matrix: Matrix, step: str
) -> None:
    note(matrix, step, "payments stalled", pair, stall_backends_at(pair, step, "payments", pair.payments_url))


@pytest.mark.parametrize("step", cases(STEPS, frozenset({"after prepare orders"})))
def test_the_decisions_that_stall_while_recovery_acts_and_go_on_split_nothing(
    pair: Pair, matrix: Matrix, step: str
) -> None:
    """And the participant beside them: orders holds both."""
    note(matrix, step, "orders stalled", pair, stall_backends_at(pair, step, "orders", pair.orders_url))


@pytest.mark.parametrize("step", cases(STEPS, frozenset({"before commit payments"})))
def test_a_participants_server_killed_at_any_step_splits_nothing(apart: Apart, matrix: Matrix, step: str) -> None:
    id_ = kill_server_at(apart, step)
    note(matrix, step, "payments killed", apart.pair, id_)


@pytest.mark.parametrize("step", cases(STEPS, frozenset({"before decision"})))
def test_the_server_of_the_decisions_killed_at_any_step_splits_nothing(
    orders_apart: Apart, matrix: Matrix, step: str
) -> None:
    id_ = kill_server_at(orders_apart, step)
    note(matrix, step, "orders killed", orders_apart.pair, id_)


def stall_backends_at(pair: Pair, step: str, participant: str, url: str) -> str:
    """The coordinator goes on at the step while the server's processes that serve it there stand still."""
    process, id_ = pair.start(step, signal.SIGSTOP, is_refused=step in ABORT_STEPS)
    until_stopped(process)
    with psycopg.connect(url, autocommit=True) as connection:
        # They wait for the coordinator's next word, so none of them holds anything that the server needs.
        stalled = [pid for (pid,) in connection.execute(BACKENDS, (f"two-phase-{participant}",))]
    assert stalled
    try:
        for pid in stalled:
            os.kill(pid, signal.SIGSTOP)
        os.kill(process.pid, signal.SIGCONT)
        pair.recovery().run_pass()
    finally:
        for pid in stalled:
            os.kill(pid, signal.SIGCONT)
    goes_on_to_what_stands(pair, process, id_)
    return id_


def kill_server_at(apart: Apart, step: str) -> str:
    """The coordinator waits at the step until the server is back, and goes on with connections that are gone."""
    pair = apart.pair
    process, id_ = pair.start(step, signal.SIGSTOP, is_refused=step in ABORT_STEPS)
    until_stopped(process)
    apart.own.kill_and_restart()
    os.kill(process.pid, signal.SIGCONT)
    goes_on_to_what_stands(pair, process, id_)
    if step in COMMITTED:
        assert pair.there(id_) == (True, True)
    return id_


def goes_on_to_what_stands(pair: Pair, process: Any, id_: str) -> None:
    """What the coordinator tells, if it tells anything, is what both have."""
    told, _ = process.communicate(timeout=60)
    # What it prepared after recovery had passed is found by the next pass.
    pair.settle()
    there = pair.there(id_)
    assert there in ((True, True), (False, False))
    assert told.strip() in ("" if process.returncode else None, "COMMIT" if there == (True, True) else "ABORT")


def note(matrix: Matrix, step: str, fault: str, pair: Pair, id_: str) -> None:
    matrix.note(step, fault, {(True, True): "both", (False, False): "neither"}.get(pair.there(id_), "SPLIT"))
