"""The record of a batch: small for a run of numbers, and never taken for that of other rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.outbox.errors import StartRefused
from connectors.outbox.polling.batches import BatchRecord, digest


@given(st.sets(st.integers(-(2**63), 2**63 - 1), max_size=50))
def test_a_record_says_again_what_went_in(numbers: set[int]) -> None:
    record = BatchRecord.of("public.outbox", 4_711, [(number, f"id {number}") for number in sorted(numbers)])
    assert BatchRecord.from_json(record.to_json(1.5)) == record


def test_a_run_of_numbers_costs_as_much_as_one() -> None:
    record = BatchRecord.of("public.outbox", 1, [(number, "id") for number in range(5_000)])
    assert len(record.to_json(0)) < 200


def test_other_ids_under_the_same_numbers_are_other_rows() -> None:
    assert digest([(1, "a"), (2, "b")]) != digest([(1, "a"), (2, "c")])
    assert digest([(1, "a")]) != digest([(1, "a"), (2, "b")])


def test_a_connector_of_the_log_is_not_taken_for_one_that_polls() -> None:
    with pytest.raises(StartRefused, match="--connector-name"):
        BatchRecord.from_json(b'{"system": "1", "timeline": 1, "slot": "s", "lsn": "0/1"}')
