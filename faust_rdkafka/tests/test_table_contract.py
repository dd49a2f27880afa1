"""What every store of a table partition promises, against a dict: the running batch's rows, the committed ones, undo."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faust_rdkafka.stores.database import Database, Resources
from faust_rdkafka.stores.memory import MemoryRows
from faust_rdkafka.stores.rocks_rows import RocksRows
from hypothesis import given, settings
from hypothesis import strategies as st

from faust_rdkafka import JSON, STR, CommittedPartition, TablePartition

KEYS = st.sampled_from(["", "a", "a1", "a2", "b", "b1", "é", "\uffff", "\U0001f600"])
WRITES = st.lists(st.tuples(KEYS, st.one_of(st.none(), st.integers(-5, 5))), max_size=12)
# What a batch does: what it prepares, its writes, and whether it is committed, rolled back, or undone record by record.
ENDS = st.sampled_from(["commit", "roll back", "undo record"])
BATCHES = st.lists(st.tuples(st.lists(KEYS, max_size=5), WRITES, ENDS), max_size=6)


def raise_it(error: BaseException) -> None:
    raise error


@contextlib.contextmanager
def in_memory() -> Iterator[Any]:
    yield MemoryRows()


@contextlib.contextmanager
def in_rocksdb(cache_rows: int = 2) -> Iterator[Any]:
    folder = Path(tempfile.mkdtemp())
    rows = RocksRows(Database(folder / "0", Resources(), raise_it), STR, JSON, cache_rows)
    try:
        yield rows
    finally:
        rows.close()
        shutil.rmtree(folder)


stores = pytest.mark.parametrize("opened", [in_memory, in_rocksdb])


def apply(rows: Any, writes: list[tuple[str, int | None]]) -> None:
    for key, value in writes:
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value


def commit(partition: TablePartition, offset: int) -> None:
    if partition.database is not None:
        pairs = [(STR.dumps(k), None if v is None else JSON.dumps(v)) for k, v in partition.changes()]
        partition.database.write_committed(pairs, offset, partition.added)
    partition.committed_now()


def same(view: Any, model: dict[str, Any]) -> None:
    """The view and the dict answer each question alike."""
    assert dict(view.items()) == model
    assert sorted(view) == sorted(model)
    assert sorted(view.values()) == sorted(model.values())
    assert len(view) == len(model)
    ordered = sorted(model.items())
    for key in ["", "a", "a1", "b", "é", "\uffff", "\U0001f600", "z"]:
        assert view.get(key, "none") == model.get(key, "none")
        assert (key in view) == (key in model)
        assert list(view.prefix(key)) == [(k, v) for k, v in ordered if k.startswith(key)]
        assert list(view.prefix("a", after=key)) == [(k, v) for k, v in ordered if k.startswith("a") and k > key]
        assert list(view.range(key)) == [(k, v) for k, v in ordered if k >= key]
        assert list(view.range("a", key)) == [(k, v) for k, v in ordered if "a" <= k <= key]
    assert list(view.range()) == ordered


@stores
@settings(max_examples=60, deadline=None)
@given(batches=BATCHES)
def test_both_views_are_those_of_a_dict_whatever_batches_do(opened: Callable[[], Any], batches: list) -> None:
    with opened() as rows:
        partition = TablePartition(0, rows)
        view = CommittedPartition(partition)
        committed: dict[str, Any] = {}
        for number, (prepared, writes, end) in enumerate(batches):
            latest = dict(committed)
            partition.prepare(prepared)
            same(partition, latest)
            apply(partition, writes)
            apply(latest, writes)
            same(partition, latest)
            same(view, committed)
            if end == "undo record":
                partition.begin_record()
                partition.prepare(prepared)
                apply(partition, [("a", 99), ("b", None), ("new", 1)])
                partition.end_record(keep=False)
                same(partition, latest)
            if end == "roll back":
                partition.roll_back()
            else:
                commit(partition, number)
                committed = latest
            same(partition, committed)
            same(view, committed)


@stores
def test_a_scan_sees_what_is_written_on_the_way(opened: Callable[[], Any]) -> None:
    with opened() as rows:
        partition = TablePartition(0, rows)
        apply(partition, [("a", 1), ("b", 1), ("c", 1)])
        commit(partition, 0)
        seen = []
        for key, value in partition.range():
            seen.append((key, value))
            if key == "a":
                partition["b"] = 2
                del partition["c"]
        assert seen == [("a", 1), ("b", 2)]


@stores
def test_a_key_that_is_absent_raises_and_a_row_cannot_be_none(opened: Callable[[], Any]) -> None:
    with opened() as rows:
        partition = TablePartition(0, rows)
        with pytest.raises(KeyError):
            partition["k"]
        with pytest.raises(KeyError):
            del partition["k"]
        with pytest.raises(ValueError, match="deleted"):
            partition["k"] = None


def test_rows_are_kept_in_the_cache_up_to_its_bound_and_read_again_behind_it() -> None:
    with in_rocksdb(cache_rows=10) as rows:
        partition = TablePartition(0, rows)
        apply(partition, [(f"k{n}", n) for n in range(100)])
        commit(partition, 0)
        assert [partition[f"k{n}"] for n in range(100)] == list(range(100))
        assert rows.cached() <= 10


def test_prepared_rows_are_read_once_and_stay_until_the_batch_ends() -> None:
    with in_rocksdb(cache_rows=10) as rows:
        partition = TablePartition(0, rows)
        apply(partition, [(f"k{n}", n) for n in range(100)])
        commit(partition, 0)
        keys = [f"k{n}" for n in range(200)]
        partition.prepare(keys)
        # Nobody asks the database any more: it answers otherwise now.
        rows.database.write([(STR.dumps(key), b"-1") for key in keys], rows.database.note)
        assert [partition.get(key) for key in keys] == [*range(100), *[None] * 100]
        assert partition.changes() == []
        partition.roll_back()
        assert rows.cached() <= 10
        assert partition["k0"] == -1
