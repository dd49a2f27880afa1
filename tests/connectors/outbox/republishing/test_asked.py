"""Requests to republish as records: they come back whole, and other bytes are no request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.outbox.republishing.asked import RATE_MAX, Bounds, Progress, Republish

TEXTS = st.none() | st.text(max_size=20)
BOUNDS = st.builds(
    Bounds, ids=st.lists(st.text(max_size=20), max_size=3).map(tuple), aggregate=TEXTS, since=TEXTS, until=TEXTS
)
PROGRESS = st.builds(
    Progress,
    table=st.integers(0, 9),
    keyless=st.booleans(),
    after=st.none() | st.lists(st.text(max_size=9), min_size=1, max_size=2).map(tuple),
    sent=st.integers(0, 10**9),
    done=st.booleans(),
    fault=st.text(max_size=20),
)


@given(st.builds(Republish, bounds=BOUNDS, rows_per_second=st.floats(0.1, RATE_MAX), progress=PROGRESS))
def test_a_request_comes_back_as_it_was_written(request: Republish) -> None:
    assert Republish.from_json(request.to_json()) == request


@given(st.binary(max_size=200))
def test_other_bytes_are_no_request(value: bytes) -> None:
    assert Republish.from_json(value) is None


@pytest.mark.parametrize("rate", [0.0, -1.0, RATE_MAX + 1])
def test_a_rate_out_of_bounds_is_no_request(rate: float) -> None:
    assert Republish.from_json(Republish(Bounds(), rows_per_second=rate).to_json()) is None
