"""What is prepared shows in the metrics with its age and what it pins and blocks, and raises an alarm when it is old."""

from __future__ import annotations

import signal
import uuid

import psycopg
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from two_phase_pair import Apart, Pair

from producers.two_phase.inspecting import Held
from producers.two_phase.metrics import TwoPhaseMetrics
from producers.two_phase.recovery import Bounds, Recovery
from producers.two_phase.watching import Watch

AT_ORDERS = {"participant": "orders"}


def test_what_is_prepared_shows_with_what_it_holds_and_blocks_until_it_ended(pair: Pair) -> None:
    registry = CollectorRegistry()
    metrics = TwoPhaseMetrics(registry)
    process, _ = pair.start("before decision", signal.SIGKILL)
    process.wait(60)
    metrics.show_held({name: there.held() for name, there in pair.participants.items()})
    assert registry.get_sample_value("tally_two_phase_holds", AT_ORDERS | {"table": "commands"}) == 1
    assert registry.get_sample_value("tally_two_phase_blocks_slots", AT_ORDERS) == 1
    assert (registry.get_sample_value("tally_two_phase_pinned_bytes", AT_ORDERS) or 0) >= 0
    pair.settle()
    metrics.show_held({name: there.held() for name, there in pair.participants.items()})
    assert registry.get_sample_value("tally_two_phase_blocks_slots", AT_ORDERS) == 0
    assert registry.get_sample_value("tally_two_phase_holds", AT_ORDERS | {"table": "commands"}) is None


def test_one_that_stays_has_a_line_of_its_own_with_age_log_and_waiting_sessions() -> None:
    registry = CollectorRegistry()
    metrics = TwoPhaseMetrics(registry)
    metrics.show_held(
        {"orders": [Held("old", None, 45.0, ("heads",), 2.0, 3), Held("new", None, 0.01, ("heads",), 2.0, 3)]}
    )
    assert registry.get_sample_value("tally_two_phase_age_seconds", AT_ORDERS | {"gid": "old"}) == 45.0
    assert registry.get_sample_value("tally_two_phase_age_seconds", AT_ORDERS | {"gid": "new"}) is None
    assert registry.get_sample_value("tally_two_phase_pinned_bytes", AT_ORDERS) == 2 * 1024 * 1024
    assert registry.get_sample_value("tally_two_phase_sessions_waiting", AT_ORDERS) == 3
    assert registry.get_sample_value("tally_two_phase_holds", AT_ORDERS | {"table": "heads"}) == 2


def test_one_that_is_prepared_for_too_long_raises_an_alarm_in_each_pass(pair: Pair) -> None:
    process, _ = pair.start("after prepare orders", signal.SIGKILL)
    process.wait(60)
    (prepared,) = pair.prepared()
    # Another coordinator's: it is left alone until it is taken for abandoned.
    bounds = Bounds(abandoned_after_s=3600.0, alarm_after_s=0.0)
    recovery = Recovery(pair.decisions.begin_life("other"), pair.decisions, pair.participants, bounds)
    with capture_logs() as logs:
        recovery.run_pass()
    (alarm,) = [entry for entry in logs if entry["event"] == "prepared for too long"]
    assert (alarm["log_level"], alarm["gid"], alarm["participant"]) == ("error", prepared, "orders")
    assert pair.prepared() == [prepared]
    pair.settle()


def test_a_strangers_transaction_is_shown_with_what_it_blocks_raises_an_alarm_and_is_left_alone(pair: Pair) -> None:
    registry, gid = CollectorRegistry(), f"stranger-{uuid.uuid4().hex[:8]}"
    bounds = Bounds(abandoned_after_s=0.0, alarm_after_s=0.0)
    watch = Watch(pair.participants, TwoPhaseMetrics(registry), bounds)
    owner = pair.decisions.begin_life("test")
    recovery = Recovery(owner, pair.decisions, pair.participants, bounds)
    with psycopg.connect(pair.orders_url, autocommit=True) as stranger:
        stranger.execute("begin")
        stranger.execute("lock table sink_positions in row exclusive mode")
        stranger.execute("select pg_current_xact_id()")
        stranger.execute(f"prepare transaction '{gid}'")
        try:
            found = recovery.run_pass()
            with capture_logs() as logs:
                watch(found)
            left = [each.gid for each in pair.participants["orders"].held()]
        finally:
            stranger.execute(f"rollback prepared '{gid}'")
    assert left == [gid]
    (alarm,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert (alarm["event"], alarm["gid"]) == ("a stranger's transaction is prepared for too long", gid)
    for what in ("sink_positions", "session(s) wait", "of log are pinned", "no logical slot can be created"):
        assert what in alarm["told"]
    assert registry.get_sample_value("tally_two_phase_holds", AT_ORDERS | {"table": "sink_positions"}) == 1
    assert registry.get_sample_value("tally_two_phase_blocks_slots", AT_ORDERS) == 1
    watch(recovery.run_pass())
    assert registry.get_sample_value("tally_two_phase_blocks_slots", AT_ORDERS) == 0


def test_a_participant_that_does_not_answer_has_old_figures_and_says_so(apart: Apart) -> None:
    registry = CollectorRegistry()
    bounds = Bounds(answer_within_s=3.0)
    watch = Watch(apart.pair.participants, TwoPhaseMetrics(registry), bounds)
    recovery = Recovery(apart.pair.decisions.begin_life("test"), apart.pair.decisions, apart.pair.participants, bounds)
    found = recovery.run_pass()
    with apart.own.frozen():
        watch(found)
        assert registry.get_sample_value("tally_two_phase_out_of_reach", {"participant": "payments"}) == 1
        assert registry.get_sample_value("tally_two_phase_out_of_reach", AT_ORDERS) == 0
