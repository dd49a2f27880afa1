"""The codec: what is written is read back, and nothing else is read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from bodies import messages
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import AvroCodec
from schemas.errors import Undecodable, Unencodable
from schemas.messages import OrderCreated, OrderLine, ReserveStock

CODEC = AvroCodec()


@given(messages)
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
