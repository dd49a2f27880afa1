"""What is blocked in memory follows the batches: committed or as before, and never beyond the bound."""

from __future__ import annotations

import pytest

from connectors.outbox.errors import WaitingFull
from connectors.outbox.waiting.aggregates import Blocked
from connectors.outbox.waiting.entries import Aggregate, Entry, State

ORDER, OTHER = Aggregate("order", "1"), Aggregate("order", "2")


def entry(number: int, aggregate: Aggregate = ORDER) -> Entry:
    state = State.FAILED if number == 0 else State.WAITING
    return Entry((number, 0), aggregate, str(number), state, "too large")


def test_an_aborted_batch_leaves_no_trace() -> None:
    blocked = Blocked()
    blocked.put(entry(0))
    blocked.commit()
    blocked.put(entry(1))
    blocked.put(entry(0, OTHER))
    blocked.remove(entry(0))
    blocked.rollback()
    assert list(blocked) == [entry(0)]
    assert OTHER not in blocked


def test_a_mended_aggregate_is_no_longer_blocked() -> None:
    blocked = Blocked()
    blocked.put(entry(0))
    blocked.commit()
    blocked.remove(entry(0))
    blocked.commit()
    assert not blocked
    blocked.rollback()
    assert not blocked


def test_entries_are_loaded_in_the_order_of_the_log() -> None:
    blocked = Blocked()
    blocked.load([entry(3), entry(0), entry(2)])
    assert [found.place[0] for found in blocked.of(ORDER)] == [0, 2, 3]
    assert blocked.failed() == 1


def test_the_bound_counts_rows_behind_the_failed_one() -> None:
    blocked = Blocked(rows_max=2)
    for number in range(3):
        blocked.put(entry(number))
    with pytest.raises(WaitingFull, match="2 rows wait behind the failed row of aggregate order/1"):
        blocked.put(entry(3))
    blocked.put(entry(0, OTHER))
    blocked.put(entry(2))


def test_what_a_kill_left_half_mended_is_found_by_its_missing_head() -> None:
    blocked = Blocked()
    blocked.load([entry(1), entry(2), entry(0, OTHER)])
    assert blocked.headless() == [ORDER]


def test_all_aggregates_together_have_a_bound() -> None:
    blocked = Blocked(rows_total_max=2)
    blocked.put(entry(0))
    blocked.commit()
    blocked.put(entry(1, OTHER))
    with pytest.raises(WaitingFull):
        blocked.put(entry(2))
    blocked.rollback()
    assert len(blocked) == 1
