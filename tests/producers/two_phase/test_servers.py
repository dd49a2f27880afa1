"""A participant's server that crashes, is away for a while, or is silent."""

from __future__ import annotations

import signal

import pytest
from running_system import wait_for
from structlog.testing import capture_logs
from two_phase_pair import Apart

from producers.two_phase.operating import Operator
from producers.two_phase.participant import Outcome
from producers.two_phase.recovery import Bounds, Recovery

# Time enough for a server that does answer, however busy the machine is.
HASTY = Bounds(abandoned_after_s=0.0, answer_within_s=3.0)
ALARMED = Bounds(abandoned_after_s=0.0, alarm_after_s=0.0)


@pytest.mark.parametrize("step", ["after prepare payments", "after decision", "after commit orders"])
def test_a_participants_server_that_crashes_keeps_what_it_prepared(apart: Apart, step: str) -> None:
    pair = apart.pair
    process, id_ = pair.start(step, signal.SIGKILL)
    process.wait(60)
    apart.own.kill_and_restart()
    pair.recovery().run_pass()
    assert pair.prepared() == []
    is_committed = step != "after prepare payments"
    assert pair.there(id_) == (is_committed, is_committed)


def test_a_participant_out_of_reach_keeps_the_transaction_open_until_it_is_back(apart: Apart) -> None:
    pair = apart.pair
    process, id_ = pair.start("after decision", signal.SIGKILL)
    process.wait(60)
    apart.server.stop()
    recovery = Recovery(pair.decisions.begin_life("test"), pair.decisions, pair.participants, ALARMED)
    with capture_logs() as logs:
        found = recovery.run_pass()
    assert found.out_of_reach == ["payments"]
    (decision,) = pair.decisions.open()
    (alarm,) = [entry for entry in logs if entry["event"] == "open for too long"]
    assert (alarm["log_level"], alarm["transaction"], alarm["waits_for"]) == (
        "error",
        decision.transaction,
        ["payments"],
    )
    (shown,) = Operator(pair.decisions, pair.participants).open()
    assert (shown.prepared, shown.out_of_reach) == ({}, ("payments",))
    assert shown.age_s > 0
    apart.server.launch()
    apart.server.wait_ready()
    recovery.run_pass()
    assert pair.decisions.open() == []
    assert pair.there(id_) == (True, True)


def test_a_server_that_is_connected_and_silent_holds_up_nobody_else(apart: Apart) -> None:
    pair = apart.pair
    process, id_ = pair.start("before decision", signal.SIGKILL)
    process.wait(60)
    recovery = Recovery(pair.decisions.begin_life("test"), pair.decisions, pair.participants, HASTY)
    # It has a connection that was good a moment ago.
    assert len(pair.participants["payments"].prepared()) == 1
    with apart.own.frozen():
        found = recovery.run_pass()
        assert found.out_of_reach == ["payments"]
        assert pair.participants["orders"].prepared() == []
        (decision,) = pair.decisions.open()
        assert decision.outcome is Outcome.ABORT
        assert recovery.run_pass().out_of_reach == ["payments"]
    wait_for(lambda: not recovery.run_pass().out_of_reach, 30, "payments to answer again")
    recovery.run_pass()
    assert pair.prepared() == []
    assert pair.decisions.open() == []
    assert pair.there(id_) == (False, False)
