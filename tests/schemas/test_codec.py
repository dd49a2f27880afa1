"""The codec: what is written is read back, and nothing else is read."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import AvroCodec
from schemas.errors import Undecodable, Unencodable
from schemas.messages import MESSAGES, OrderCreated, OrderLine, ReserveStock

CODEC = AvroCodec()
NARROW = {"line", "partition"}

moments = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


def strategy(name: str, hint: Any) -> st.SearchStrategy[Any]:
    if get_origin(hint) is tuple:
        return st.lists(bodies(get_args(hint)[0]), max_size=3).map(tuple)
    if get_origin(hint) is dict:
        return st.dictionaries(st.text(max_size=5), st.binary(max_size=5), max_size=3)
    if type(None) in get_args(hint):
        inner = next(arg for arg in get_args(hint) if arg is not type(None))
        return st.none() | strategy(name, inner)
    bits = 31 if name in NARROW else 63
    return {
        str: st.text(max_size=20),
        int: st.integers(-(1 << bits), (1 << bits) - 1),
        bytes: st.binary(max_size=20),
        datetime: moments,
    }[hint]


def bodies(cls: type) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    return st.builds(cls, **{field.name: strategy(field.name, hints[field.name]) for field in fields(cls)})


@given(st.sampled_from(sorted(MESSAGES.values(), key=lambda cls: cls.__name__)).flatmap(bodies))
def test_every_message_comes_back_as_it_was(body: Any) -> None:
    assert CODEC.decode(CODEC.encode(body)) == body


@given(st.binary(max_size=200))
def test_foreign_bytes_are_undecodable_and_nothing_worse(payload: bytes) -> None:
    with pytest.raises(Undecodable):
        CODEC.decode(b"\x00\x00\x0f\x42" + payload if payload[:1] == b"\x00" else payload)


@given(st.integers(0, 60), st.binary(min_size=1, max_size=3))
def test_truncated_or_longer_bytes_are_undecodable(cut: int, tail: bytes) -> None:
    whole = CODEC.encode(OrderCreated("c", "GBP", (OrderLine(1, "85123A", 2, 255),), 510, "card", "tok_ok"))
    with pytest.raises(Undecodable):
        CODEC.decode(whole[: min(cut, len(whole) - 1)])
    with pytest.raises(Undecodable, match="left over"):
        CODEC.decode(whole + tail)


def test_a_record_without_a_value_is_undecodable() -> None:
    with pytest.raises(Undecodable, match="no value"):
        CODEC.decode(None)


def test_an_unknown_schema_id_is_named() -> None:
    with pytest.raises(Undecodable, match="schema id 7 is not in"):
        CODEC.decode(b"\x00\x00\x00\x00\x07abc")


@pytest.mark.parametrize("quantity", [1.5, True, "2", None, 1 << 63])
def test_a_number_that_does_not_fit_is_refused_by_name(quantity: Any) -> None:
    body = replace(ReserveStock("order", 1, 1), quantity=quantity)
    with pytest.raises(Unencodable, match="ReserveStock"):
        CODEC.encode(body)


def test_a_line_number_beyond_32_bits_is_refused() -> None:
    with pytest.raises(Unencodable, match="line"):
        CODEC.encode(ReserveStock("order", 1 << 31, 1))


def test_a_class_that_is_no_message_is_refused() -> None:
    with pytest.raises(Unencodable, match="OrderLine is none of our messages"):
        CODEC.encode(OrderLine(1, "a", 1, 1))
