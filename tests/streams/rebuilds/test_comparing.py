"""Two versions of a table, row by row."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from streams.rebuilds.comparing import Comparison, compare

TABLES = st.dictionaries(st.binary(max_size=2).map(lambda key: key.hex().encode()), st.integers(0, 2), max_size=8)


def _compare(served: dict[bytes, object], built: dict[bytes, object], rows_max: int = 100) -> Comparison:
    sides = ([(key, orjson.dumps(row)) for key, row in sorted(side.items())] for side in (served, built))
    return compare(*map(iter, sides), rows_max)


@given(TABLES, TABLES)
def test_it_finds_what_a_comparison_of_two_dicts_finds(served: dict[bytes, int], built: dict[bytes, int]) -> None:
    found = _compare(dict(served), dict(built))
    differing = [key for key in sorted(served.keys() | built.keys()) if served.get(key) != built.get(key)]
    assert (found.served, found.built, found.differ) == (len(served), len(built), len(differing))
    assert [row["key"].encode() for row in found.rows] == differing
    for row in found.rows:
        assert (row["served"], row["built"]) == tuple(side.get(row["key"].encode()) for side in (served, built))


def test_rows_that_mean_the_same_are_equal_whatever_the_order_of_their_fields() -> None:
    assert _compare({b"k": {"a": 1, "b": 2}}, {b"k": {"b": 2, "a": 1}}).differ == 0


def test_all_that_differ_are_counted_and_the_first_are_shown() -> None:
    found = _compare({b"%03d" % n: n for n in range(50)}, {}, rows_max=3)
    assert (found.differ, [row["key"] for row in found.rows]) == (50, ["000", "001", "002"])
