"""Older versions climb to the newest by small steps; their golden bytes read for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from schemas.catalogue import Entry, load
from schemas.codec import AvroCodec
from schemas.errors import Undecodable
from schemas.messages import MESSAGES
from schemas.upcasting import UPCASTERS, Values


@dataclass(frozen=True, slots=True)
class CartPriced:
    """As it stands today: version 3."""

    sku: str
    price_minor: int | None = None
    currency: str | None = None
    note: str | None = None


def versions() -> list[Entry]:
    """1 had whole pounds, 2 pence and a currency beside them, 3 a note that is null by default."""
    pounds: dict[str, Any] = {"name": "pounds", "type": ["null", "long"], "default": None}
    priced = [{"name": "price_minor", "type": ["null", "long"], "default": None}]
    priced += [{"name": "currency", "type": ["null", "string"], "default": None}]
    sku, note = {"name": "sku", "type": "string"}, {"name": "note", "type": ["null", "string"], "default": None}
    fields = [[sku, pounds], [sku, *priced], [sku, *priced, note]]
    return [
        Entry("shop.CartPriced", number, number, "", "", {"type": "record", "name": "CartPriced", "fields": each})
        for number, each in enumerate(fields, start=1)
    ]


def pounds_to_pence(values: Values) -> Values:
    pounds = values["pounds"]
    return {"sku": values["sku"], "price_minor": None if pounds is None else pounds * 100, "currency": "GBP"}


CODEC = AvroCodec(versions(), classes=[CartPriced], upcasters={"shop.CartPriced": {1: pounds_to_pence}})
GOLDEN = {
    1: ("000000000102610206", CartPriced("a", 300, "GBP")),
    2: ("0000000002026102d8040206474250", CartPriced("a", 300, "GBP")),
    3: ("0000000003026102d804020647425002046869", CartPriced("a", 300, "GBP", "hi")),
}


@pytest.mark.parametrize("version", GOLDEN)
def test_golden_bytes_of_every_version_read_as_the_newest(version: int) -> None:
    payload, body = GOLDEN[version]
    assert CODEC.decode(bytes.fromhex(payload)) == body


def test_the_newest_version_is_written() -> None:
    payload, body = GOLDEN[3]
    assert CODEC.encode(body).hex() == payload


@pytest.mark.parametrize("version", GOLDEN)
def test_an_older_version_is_as_strict_as_the_newest(version: int) -> None:
    payload = bytes.fromhex(GOLDEN[version][0])
    for cut in range(len(payload)):
        with pytest.raises(Undecodable):
            CODEC.decode(payload[:cut])
    with pytest.raises(Undecodable, match="1 bytes are left over"):
        CODEC.decode(payload + b"\x00")


def test_a_step_that_cannot_be_taken_makes_the_bytes_undecodable() -> None:
    codec = AvroCodec(versions(), classes=[CartPriced], upcasters={"shop.CartPriced": {1: lambda values: {"x": 1}}})
    with pytest.raises(Undecodable, match="schema id 1"):
        codec.decode(bytes.fromhex(GOLDEN[1][0]))


def test_steps_begin_at_published_versions_of_messages_that_are_ours() -> None:
    newest: dict[str, int] = {}
    for entry in load():
        newest[entry.subject] = max(entry.version, newest.get(entry.subject, 0))
    for subject, steps in UPCASTERS.items():
        assert subject.rsplit(".", 1)[1] in {cls.__name__ for cls in MESSAGES.values()}
        assert all(1 <= step < newest[subject] for step in steps)
