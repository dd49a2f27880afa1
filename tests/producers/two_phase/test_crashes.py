"""A kill -9 and a stall at every step of a two-phase commit on real databases: both have the row, or neither."""

from __future__ import annotations

import os
import signal

import pytest
from two_phase_pair import Pair

STEPS = [
    "before vote",
    *(
        f"{moment} {name}"
        for name in ("orders", "payments")
        for moment in ("before marker", "before prepare", "after prepare")
    ),
    "before decision",
    "after decision",
    *(f"{moment} {name}" for name in ("orders", "payments") for moment in ("before commit", "after commit")),
    "before forget",
    "after forget",
]
REFUSED_STEPS = [f"{moment} {name}" for name in ("orders", "payments") for moment in ("before abort", "after abort")]
SAMPLE = {"after prepare orders", "before decision", "after decision", "after commit orders", "before abort orders"}
# From the decision on, what was begun ends as a commit.
COMMITTED = set(STEPS[STEPS.index("after decision") :])
CASES = [
    pytest.param(
        step, step in REFUSED_STEPS, marks=() if step in SAMPLE else pytest.mark.slow, id=step.replace(" ", "-")
    )
    for step in STEPS + REFUSED_STEPS
]


@pytest.mark.parametrize(("step", "is_refused"), CASES)
def test_a_coordinator_killed_at_any_step_leaves_both_or_neither(pair: Pair, step: str, is_refused: bool) -> None:
    process, id_ = pair.start(step, signal.SIGKILL, is_refused=is_refused)
    assert process.wait(30) == -signal.SIGKILL
    settle(pair)
    assert pair.there(id_) == ((True, True) if step in COMMITTED else (False, False))


@pytest.mark.parametrize(("step", "is_refused"), CASES)
def test_a_coordinator_that_stalls_while_recovery_acts_and_goes_on_splits_nothing(
    pair: Pair, step: str, is_refused: bool
) -> None:
    process, id_ = pair.start(step, signal.SIGSTOP, is_refused=is_refused)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    settle(pair)
    os.kill(process.pid, signal.SIGCONT)
    told, _ = process.communicate(timeout=30)
    # What it prepared after recovery had passed is found by the next pass.
    settle(pair)
    there = pair.there(id_)
    assert there in ((True, True), (False, False))
    assert told.strip() == ("COMMIT" if there == (True, True) else "ABORT")


def settle(pair: Pair) -> None:
    pair.recovery().run_pass()
    assert pair.prepared() == []
    assert pair.decisions.open() == []
    assert pair.decisions.damaged() == []
