"""Plans: a frame gives the same record as its values do, or the same refusal, whatever the options."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.outbox.config import DebeziumPlacement, Form, Routing
from connectors.outbox.errors import MalformedStream
from connectors.outbox.pgoutput import MESSAGE_AT, Column, Relation
from connectors.outbox.plans import Parts
from connectors.outbox.routing import Route, Unroutable
from connectors.outbox.rows import COLUMNS_MAX, row_head

COLUMNS = [
    Column("id", 2950),
    Column("aggregatetype", 25),
    Column("aggregateid", 25),
    Column("payload", 17),
    Column("created_at", 1184),
    Column("part", 23),
]
PLACED = DebeziumPlacement.parse_list("created_at:header:at,aggregateid:header,part:partition")
RULES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "placed": {"placements": PLACED, "timestamp_field": "created_at"},
    "no null headers": {"placements": PLACED, "null_headers": False},
    "json": {"key_form": Form("json"), "value_form": Form("json", schemas=True), "header_form": Form("json")},
    "envelope": {"placements": DebeziumPlacement.parse_list("part:envelope")},
    "tombstones": {"tombstone_on_empty_payload": True},
    "no key": {"key_field": "nothing"},
}
TEXTS = st.none() | st.sampled_from(
    [b"", b"7", b"-1", b"order", b"\\x00ff", b"\\xf", b"2024-02-29 10:34:56.12+00", b"\xff"]
)


def frame_of(columns: list[Column], values: list[bytes | None]) -> bytes:
    parts = [b"n" if value is None else b"t" + struct.pack(">I", len(value)) + value for value in values]
    return b"w" * MESSAGE_AT + row_head(Relation(9, "public", "outbox", tuple(columns))) + b"".join(parts)


def answer(make: Any, row: Any) -> Parts | str:
    try:
        made: Parts = make(row)
        return made
    except Unroutable as refused:
        return refused.reason


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@given(values=st.lists(TEXTS, min_size=len(COLUMNS), max_size=len(COLUMNS)))
def test_a_frame_gives_what_its_values_give(rules: dict[str, Any], values: list[bytes | None]) -> None:
    route = Route(Routing(**rules), COLUMNS, "public.outbox")
    found = answer(route.parts_of_frame(), frame_of(COLUMNS, values))
    assert found == answer(route.parts, values) == answer(route.record, values)


def test_a_cut_frame_is_malformed() -> None:
    frame = frame_of(COLUMNS, [b"1", b"order", b"k", b"\\x00", None, None])
    with pytest.raises(MalformedStream):
        Route(Routing(), COLUMNS).parts_of_frame()(frame[:-3])


def test_a_table_wider_than_a_function_is_read_all_the_same() -> None:
    columns = [*COLUMNS, *(Column(f"more{number}", 25) for number in range(COLUMNS_MAX))]
    values: list[bytes | None] = [b"1", b"order", b"k", b"\\x00ff", None, None, *(b"x" for _ in range(COLUMNS_MAX))]
    parts = Route(Routing(), columns).parts_of_frame()(frame_of(columns, values))
    assert parts == ("outbox.event.order", b"k", b"\x00\xff", [("id", b"1")], 0, -1)


def test_a_header_of_any_name_keeps_it() -> None:
    name = "quote \" ' back \\ brace {c0} ü"
    placed = (DebeziumPlacement("aggregateid", "header", name),)
    route = Route(Routing(placements=placed), COLUMNS)
    assert route.record([b"1", b"order", b"k", None, None, None]).headers == [("id", b"1"), (name, b"k")]
