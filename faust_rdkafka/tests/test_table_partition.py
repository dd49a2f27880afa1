"""Rows, the undo log, and what it makes visible to whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faust_rdkafka import CommittedPartition, TablePartition

KEYS = st.sampled_from(["a", "a1", "a2", "b", "b1"])
WRITES = st.lists(st.tuples(KEYS, st.one_of(st.none(), st.integers())))


def apply(rows: TablePartition, writes: list[tuple[str, int | None]]) -> None:
    for key, value in writes:
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value


@given(WRITES, WRITES)
def test_rolling_back_gives_the_committed_rows(before: list, after: list) -> None:
    rows = TablePartition(0)
    apply(rows, before)
    rows.committed_now()
    kept = dict(rows)
    apply(rows, after)
    rows.roll_back()
    assert dict(rows) == kept
    assert rows.changes() == []


@given(WRITES, WRITES)
def test_the_committed_view_shows_nothing_of_a_running_batch(before: list, after: list) -> None:
    rows = TablePartition(0)
    view = CommittedPartition(rows)
    apply(rows, before)
    rows.committed_now()
    kept = dict(rows)
    list(rows.prefix("a"))  # the index exists from here on
    apply(rows, after)
    assert dict(view) == kept
    assert len(view) == len(kept)
    assert list(view.prefix("a")) == sorted((k, v) for k, v in kept.items() if k.startswith("a"))
    assert list(rows.prefix("a")) == sorted((k, v) for k, v in rows.items() if k.startswith("a"))
    assert list(view.prefix("a", after="a1")) == sorted(
        (k, v) for k, v in kept.items() if k.startswith("a") and k > "a1"
    )


@given(WRITES, WRITES, WRITES)
def test_an_undone_record_leaves_the_records_before_it(before: list, good: list, bad: list) -> None:
    rows = TablePartition(0)
    apply(rows, before)
    rows.committed_now()
    kept = dict(rows)
    rows.begin_record()
    apply(rows, good)
    rows.end_record(keep=True)
    wanted = dict(rows)
    rows.begin_record()
    apply(rows, bad)
    rows.end_record(keep=False)
    assert dict(rows) == wanted
    assert dict(CommittedPartition(rows)) == kept
    rows.roll_back()
    assert dict(rows) == kept


@given(WRITES, WRITES, WRITES)
def test_a_part_of_a_record_is_undone_alone_and_a_kept_one_with_its_record(good: list, bad: list, kept: list) -> None:
    rows = TablePartition(0)
    rows.begin_record()
    apply(rows, good)
    wanted = dict(rows)
    before = rows.begin_part()
    apply(rows, bad)
    rows.end_part(before, keep=False)
    assert dict(rows) == wanted
    before = rows.begin_part()
    apply(rows, kept)
    rows.end_part(before, keep=True)
    rows.end_record(keep=False)
    assert dict(rows) == {}


@given(WRITES, WRITES)
def test_changes_replayed_on_the_committed_rows_give_the_new_ones(before: list, after: list) -> None:
    rows, replica = TablePartition(0), TablePartition(0)
    apply(rows, before)
    replica.fill(dict(rows), 1)
    rows.committed_now()
    apply(rows, after)
    replica.fill(dict(rows.changes()), 2)
    assert dict(replica) == dict(rows)
    assert len({key for key, _ in rows.changes()}) == len(rows.changes())


def test_a_row_cannot_be_none() -> None:
    with pytest.raises(ValueError, match="deleted"):
        TablePartition(0)["k"] = None


def test_staged_rows_count_for_the_commit_and_go_with_the_batch() -> None:
    rows = TablePartition(0)
    rows["a"] = 1
    rows.stage([(b"b", b"2"), (b"c", b"3")], 1)
    assert rows.changes() == [("a", 1)]
    assert rows.added == 2
    rows.roll_back()
    assert (rows.changes(), rows.staged, rows.added) == ([], [], 0)
