"""Unpublished rows as records: nothing of a row is lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.outbox.errors import StartRefused
from connectors.outbox.pgoutput import Column
from connectors.outbox.waiting.entries import Aggregate, Content, Entry, Request, State, decode, encode

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
entries = st.builds(
    Entry,
    place=st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)),
    aggregate=st.builds(Aggregate, st.none() | texts, texts),
    row_id=texts,
    state=st.sampled_from(State),
    reason=texts,
    letter=st.none() | st.binary(max_size=9),
)
columns = st.lists(st.tuples(st.builds(Column, texts, st.integers(0, 2**31)), st.none() | st.binary(max_size=30)))


@given(entries, st.none() | columns)
def test_what_is_written_is_read_again(entry: Entry, pairs: list[tuple[Column, bytes | None]] | None) -> None:
    content = None if pairs is None else Content([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    assert decode(entry.key, encode(entry, content)) == (entry, content)


@given(st.binary(max_size=60))
def test_foreign_bytes_are_refused_by_name(value: bytes) -> None:
    with pytest.raises(StartRefused, match="waiting rows"):
        decode(b"row/0/0", value)


@given(st.binary(max_size=30))
def test_foreign_requests_are_passed_over(value: bytes) -> None:
    assert Request.from_json(value) is None


def test_a_request_means_a_row_an_aggregate_or_everything() -> None:
    entry = Entry((1, 0), Aggregate("order", "7"), "id1", State.FAILED, "no topic")
    assert [
        request.wants(entry)
        for request in (
            Request(),
            Request(row_id="id1"),
            Request(aggregate="7"),
            Request(aggregate="order/7"),
            Request(row_id="id2"),
            Request(aggregate="8"),
        )
    ] == [True, True, True, True, False, False]
    assert Request.from_json(Request(aggregate="7").to_json()) == Request(aggregate="7")
