"""The compiled readers of rows: whatever bytes come, they answer as the loop does."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.outbox.errors import MalformedStream
from connectors.outbox.pgoutput import MESSAGE_AT, Column, Relation, read_insert
from connectors.outbox.rows import COLUMNS_MAX, VALUES_AT, row_head, row_reader

OID = 7


def relation_of(columns: int) -> Relation:
    return Relation(OID, "public", "outbox", tuple(Column(f"c{number}", 25) for number in range(columns)))


def frame_of(values: list[bytes | None]) -> bytes:
    parts = [b"n" if value is None else b"t" + struct.pack(">I", len(value)) + value for value in values]
    return b"w" * MESSAGE_AT + row_head(relation_of(len(values))) + b"".join(parts)


def answer_of_the_loop(frame: bytes) -> list[bytes | None] | str:
    try:
        return read_insert(frame, MESSAGE_AT)[1]
    except MalformedStream as error:
        return str(error)


def answer_of_the_reader(frame: bytes, columns: int) -> list[bytes | None] | str:
    try:
        return row_reader(columns)(frame)
    except MalformedStream as error:
        return str(error)


@given(st.lists(st.none() | st.binary(max_size=40), min_size=1, max_size=12))
def test_every_row_comes_back(values: list[bytes | None]) -> None:
    assert row_reader(len(values))(frame_of(values)) == values


@given(st.lists(st.none() | st.binary(max_size=9), min_size=1, max_size=5), st.data())
def test_a_changed_or_cut_row_is_answered_as_by_the_loop(values: list[bytes | None], data: st.DataObject) -> None:
    frame = bytearray(frame_of(values))
    if len(frame) > VALUES_AT:
        frame[data.draw(st.integers(VALUES_AT, len(frame) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(frame[: data.draw(st.integers(VALUES_AT, len(frame)))])
    for changed in (bytes(frame), cut):
        assert answer_of_the_reader(changed, len(values)) == answer_of_the_loop(changed)


@pytest.mark.parametrize("columns", [0, COLUMNS_MAX, COLUMNS_MAX + 1, 1_600])
def test_a_row_of_any_width_is_read(columns: int) -> None:
    values: list[bytes | None] = [b"%d" % number for number in range(columns)]
    assert row_reader(columns)(frame_of(values)) == values


def test_rows_of_another_relation_or_width_begin_otherwise() -> None:
    frame = frame_of([b"1", None])
    assert frame[MESSAGE_AT:VALUES_AT] == row_head(relation_of(2))
    assert row_head(relation_of(2)) != row_head(relation_of(3))
    assert row_head(Relation(OID + 1, "public", "outbox", relation_of(2).columns)) != row_head(relation_of(2))
