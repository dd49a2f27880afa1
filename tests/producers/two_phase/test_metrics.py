"""What is prepared shows in the metrics with its age and what it pins and blocks, and raises an alarm when it is old."""

from __future__ import annotations

import signal

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from two_phase_pair import Pair

from producers.two_phase.inspecting import Held
from producers.two_phase.metrics import TwoPhaseMetrics
from producers.two_phase.recovery import Bounds, Recovery

AT_ORDERS = {"participant": "orders"}


def test_what_is_prepared_shows_with_what_it_holds_and_blocks_until_it_ended(pair: Pair) -> None:
    registry = CollectorRegistry()
    metrics = TwoPhaseMetrics(registry)
    process, _ = pair.start("before decision", signal.SIGKILL)
    process.wait(30)
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
    process.wait(30)
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
