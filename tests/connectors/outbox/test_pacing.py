"""When a batch is closed, and how long the carrier rests after it."""

from __future__ import annotations

import pytest

from connectors.outbox.config import Window
from connectors.outbox.pacing import Pace

WINDOW = Window(age_ms=60, rest_ms=2, busy_rows=100, late_rows=16)


@pytest.mark.parametrize(
    ("rows", "late_s", "is_quiet"),
    [(0, 0.0, True), (99, 0.05, True), (100, 0.05, False), (0, 5.0, True), (15, 5.0, True), (16, 5.0, False)],
)
def test_little_that_comes_is_sent_at_once_and_late_rows_in_larger_batches(
    rows: int, late_s: float, is_quiet: bool
) -> None:
    assert Pace(WINDOW).is_quiet(rows, late_s) is is_quiet


def test_a_trickle_whose_rows_are_late_does_not_stay_late_by_waiting_for_more() -> None:
    # 500 rows a second are two in a pause of 3 ms: once late, each batch would be kept open for its whole age.
    assert Pace(WINDOW).is_quiet(2, late_s=0.08)


def test_a_batch_waits_no_longer_than_its_age() -> None:
    assert not Pace(WINDOW).is_old(0.059)
    assert Pace(WINDOW).is_old(0.061)


def test_the_rest_is_half_of_a_commit_that_is_as_quick_as_ever() -> None:
    pace = Pace(WINDOW)
    assert [round(pace.rest_s(0.010), 6) for _ in range(5)] == [0.005] * 5


def test_a_broker_that_has_become_slow_is_asked_less_often() -> None:
    pace = Pace(WINDOW)
    pace.rest_s(0.010)
    rests = [pace.rest_s(0.020) for _ in range(10)]
    assert rests == sorted(rests)
    assert rests[-1] > 0.012 > rests[0]


def test_one_slow_commit_is_no_reason_for_a_long_rest() -> None:
    pace = Pace(WINDOW)
    pace.rest_s(0.004)
    assert pace.rest_s(0.030) < 0.010


def test_rows_that_came_during_a_long_commit_have_waited_already() -> None:
    pace = Pace(WINDOW)
    pace.rest_s(0.010)
    rests = [pace.rest_s(0.050) for _ in range(10)]
    assert max(rests) == pytest.approx(0.010)
    assert pace.rest_s(0.070) == WINDOW.rest_ms / 1000


def test_a_broker_that_stays_slow_is_what_is_usual_in_the_end() -> None:
    pace = Pace(WINDOW)
    pace.rest_s(0.005)
    rests = [pace.rest_s(0.020) for _ in range(200)]
    assert max(rests) > 0.02
    assert rests[-1] == pytest.approx(0.010)


def test_the_rest_has_bounds() -> None:
    for commit_s in (0.0, 0.000_1, 10.0):
        assert Pace(WINDOW).rest_s(commit_s) == WINDOW.rest_ms / 1000
