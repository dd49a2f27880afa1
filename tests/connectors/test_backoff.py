"""Waiting between tries."""

from __future__ import annotations

from connectors.backoff import Backoff


def test_waits_double_up_to_five_seconds_and_begin_anew_after_a_success() -> None:
    backoff = Backoff()
    assert [backoff.next_s() for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    backoff.reset()
    assert backoff.next_s() == 0.2
