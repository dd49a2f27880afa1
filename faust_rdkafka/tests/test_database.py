"""A store's directory: what it keeps, what makes it distrust itself, and what it does when it is damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faust_rdkafka.stores.database import Database, Resources
from faust_rdkafka.stores.note import NO_TOPIC, Note, unpacked

from faust_rdkafka import StoreFailed

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
NOW_MS = 1_800_000_000_000
RESOURCES = Resources()


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], tuple[Database, list[BaseException]]]:
    def make() -> tuple[Database, list[BaseException]]:
        told: list[BaseException] = []
        return Database(tmp_path / "0", RESOURCES, told.append), told

    return make


def test_rows_and_note_are_there_again_after_it_is_opened_anew(opened: Any) -> None:
    database, _ = opened()
    database.write([(b"a", b"1"), (b"", b"0"), (b"b", b"2")], Note(6, 1, 3))
    database.write_committed([(b"b", None), (b"c", b"3")], 9, 0)
    database.close()
    database, _ = opened()
    assert list(database.scan(b"")) == [(b"", b"0"), (b"a", b"1"), (b"c", b"3")]
    assert (database.get(b"b"), database.get(b"c")) == (None, b"3")
    assert (database.note.offset, database.note.rows) == (9, 3)
    database.close()


def test_a_commit_whose_offset_is_unknown_keeps_the_old_one(opened: Any) -> None:
    database, _ = opened()
    database.write_committed([(b"a", b"1")], 5, 1)
    database.write_committed([(b"a", b"2")], None, 0)
    assert database.note.offset == 5
    database.close()


def test_a_scan_and_its_note_are_of_one_moment(opened: Any) -> None:
    database, _ = opened()
    database.write_committed([(b"a", b"1")], 5, 1)
    note, rows = database.scan_with_note()
    database.write_committed([(b"b", b"2")], 7, 1)
    assert (note.offset, list(rows)) == (5, [(b"a", b"1")])
    database.close()


def test_a_damaged_block_is_told_of_at_once_and_the_next_start_wipes_the_store(opened: Any, tmp_path: Path) -> None:
    database, told = opened()
    database.write([(b"%08d" % n, os.urandom(40)) for n in range(50_000)], Note(1, 1, 50_000))
    database.flush()
    (file,) = (tmp_path / "0").glob("*.sst")
    data = bytearray(file.read_bytes())
    data[100_000:140_000] = bytes(40_000)
    database.close()
    file.write_bytes(data)
    database, told = opened()
    with pytest.raises(StoreFailed, match="Corruption"):
        list(database.scan(b""))
    assert len(told) == 1
    database.close()
    database, _ = opened()
    assert (list(database.scan(b"")), database.note) == ([], Note())
    database.close()


def test_a_store_whose_note_is_of_another_form_is_wiped(opened: Any) -> None:
    class OtherNote(Note):
        def packed(self) -> bytes:
            return b"from another release"

    database, _ = opened()
    database.write([(b"a", b"1")], OtherNote(5, 1, 1))
    database.close()
    database, _ = opened()
    assert (list(database.scan(b"")), database.note) == ([], Note())
    database.close()


def test_a_reader_of_a_store_that_was_let_go_is_told_that_it_is_not_ours(opened: Any) -> None:
    database, told = opened()
    database.close()
    with pytest.raises(KeyError):
        database.get(b"a")
    assert told == []


def test_a_note_of_another_form_is_refused() -> None:
    assert unpacked(Note(5, 6, 7, bytes(range(16))).packed()) == Note(5, 6, 7, bytes(range(16)))
    with pytest.raises(ValueError, match="another form"):
        unpacked(b"\x02" + Note().packed()[1:])


@pytest.mark.parametrize(
    ("offset", "age_ms", "end", "trusted"),
    [
        (100, 0, 200, True),
        (100, WEEK_MS // 2, 200, True),
        (100, WEEK_MS // 2 + 1, 200, False),  # its tombstones may be gone
        (100, 100 * WEEK_MS, 102, True),  # nothing was written since
        (100, -2 * 3_600_000, 200, False),  # the clock went back by hours: its word means nothing
        (100, -1000, 200, True),
        (100, 0, 101, True),
        (100, 0, 100, False),  # the changelog is shorter than it was
        (-1, NOW_MS, 200, True),  # an empty store is read from the beginning anyway
    ],
)
def test_a_store_is_trusted_while_no_tombstone_can_be_missing(
    offset: int, age_ms: int, end: int, trusted: bool
) -> None:
    note = Note(offset, NOW_MS - age_ms, 10, b"t" * 16)
    assert (note.why_not_to_trust(end, b"t" * 16, WEEK_MS, NOW_MS) is None) == trusted


def test_a_store_of_a_topic_that_was_made_again_is_not_trusted() -> None:
    note = Note(100, NOW_MS, 10, b"t" * 16)
    assert note.why_not_to_trust(200, b"u" * 16, WEEK_MS, NOW_MS)
    assert note.why_not_to_trust(200, NO_TOPIC, WEEK_MS, NOW_MS) is None
