"""Rows that are folded ahead of their commits: what an earlier piece made of a row is known before the store has it."""

from __future__ import annotations

from faust_rdkafka.codecs import JSON, STR

from streams.rebuilds.ahead import Ahead, Pairs
from streams.rebuilds.folding import Folded


class Store:
    """Committed rows, and which of them were asked for."""

    def __init__(self, rows: Pairs) -> None:
        self.rows, self.asked = dict(rows), list[bytes]()

    def read(self, keys: list[bytes]) -> list[bytes | None]:
        self.asked += keys
        return [self.rows.get(key) for key in keys]


def _ahead(store: Store, pieces_max: int = 2) -> Ahead:
    return Ahead(STR, JSON, store.read, pieces_max)


def test_a_piece_has_the_rows_that_it_changed_and_counts_those_that_are_new() -> None:
    store = Store([(b"old", b'{"n":1}')])
    rows = _ahead(store)
    rows.prepare(["old", "new", "read"])
    assert (rows.get("old"), rows.get("new")) == ({"n": 1}, None)
    rows["new"] = {"n": 1}
    rows["old"] = {"n": 2}
    rows["new"] = {"n": 2}
    assert rows.cut(Folded()) == ([(b"new", b'{"n":2}'), (b"old", b'{"n":2}')], 1)
    assert store.asked == [b"old", b"new", b"read"]
    assert rows.cut(Folded()) == ([], 0)


def test_rows_of_pieces_that_may_not_be_committed_are_not_read_from_the_store() -> None:
    store = Store([])
    rows = _ahead(store)
    for n in range(1, 4):
        assert rows.get("a") == (None if n == 1 else {"n": n - 1})
        rows["a"] = {"n": n}
        assert rows.cut(Folded()) == ([(b"a", b'{"n":%d}' % n)], int(n == 1))
    assert store.asked == [b"a"]


def test_a_row_of_long_ago_is_read_from_the_store_again() -> None:
    store = Store([])
    rows = _ahead(store)
    rows.prepare(["a"])
    rows["a"] = {"n": 1}
    store.rows.update(rows.cut(Folded())[0])
    rows.cut(Folded())
    assert rows.get("a") == {"n": 1}
    for _ in range(3):
        rows.cut(Folded())
    assert rows.get("a") == {"n": 1}
    assert store.asked == [b"a", b"a"]


def test_a_row_that_no_changelog_could_hold_is_a_fault_and_the_one_before_the_piece_stays() -> None:
    rows, folded = _ahead(Store([])), Folded()
    rows.prepare(["a", "b", "c"])
    rows["a"] = {"n": 1}
    rows.cut(folded)
    rows.prepare(["a", "b", "c"])
    rows["a"], rows["b"], rows["c"] = {"n": {1, 2}}, {"n": {3}}, {"n": 4}
    assert rows.cut(folded) == ([(b"c", b'{"n":4}')], 1)
    assert folded == Folded(0, 2, "the row of 'b' is no JSON")
    assert (rows.get("a"), rows.get("b")) == ({"n": 1}, None)


def test_what_a_piece_reads_and_how_much_it_changes_is_counted() -> None:
    rows = _ahead(Store([(b"old", b'{"n":1}')]))
    rows.prepare(["old", "new"])
    rows["old"] = rows["new"] = {"n": 2}
    assert (rows.read_bytes, rows.changed) == (7, 2)
    rows.cut(Folded())
    assert (rows.read_bytes, rows.changed) == (0, 0)
