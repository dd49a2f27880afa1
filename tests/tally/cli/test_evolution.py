"""What Avro's own checker lets pass between versions is found by ours."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.catalogue import Entry
from tally.cli.compatibility import compatible
from tally.cli.evolution import changes, evolved


def versions(*fields: Any, **names: Any) -> list[Entry]:
    """Versions of one subject, each a list of fields."""
    return [
        Entry("shop.Cart", number, number, f"Cart.{number}.avsc", "", schema(each) | names.get(f"v{number}", {}))
        for number, each in enumerate(fields, start=1)
    ]


def schema(fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "record", "name": "Cart", "namespace": "shop", "fields": fields}


def field(type_: Any, name: str = "x", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


def decimal(scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale}


def moment(unit: str) -> dict[str, Any]:
    return {"type": "long", "logicalType": f"timestamp-{unit}"}


@pytest.mark.parametrize(
    ("older", "newer", "says"),
    [
        (decimal(2), decimal(4), "scale was 2, is 4"),
        (moment("millis"), moment("micros"), "logicalType was timestamp-millis, is timestamp-micros"),
        ("long", moment("millis"), "logicalType was None"),
        (["null", moment("millis")], ["null", "long"], "is None"),
        ({"type": "array", "items": decimal(2)}, {"type": "array", "items": decimal(3)}, "items: scale was 2, is 3"),
        ({"type": "map", "values": decimal(2)}, {"type": "map", "values": decimal(3)}, "values: scale was 2"),
    ],
)
def test_a_change_of_meaning_that_avro_lets_pass_is_found(older: Any, newer: Any, says: str) -> None:
    found = list(compatible(versions([field(older)], [field(newer)])))
    assert len(found) == 1
    assert found[0].startswith("Cart.2.avsc: since version 1: x: ")
    assert says in found[0]


def test_a_namespace_that_changes_is_found() -> None:
    found = list(evolved(versions([], [], v2={"namespace": "other"})))
    assert found == ["Cart.2.avsc: since version 1: namespace was shop, is other"]


def test_a_default_that_changes_is_found() -> None:
    found = list(evolved(versions([field("long", default=0)], [field("long", default=1)])))
    assert found == [
        "Cart.2.avsc: since version 1: x: the default was 0; with another one old data says something else"
    ]


def test_a_default_that_comes_later_is_fine() -> None:
    assert list(evolved(versions([field("long")], [field("long", default=1)]))) == []


def test_a_field_that_comes_back_is_found() -> None:
    there, gone = [field("long", default=0)], list[dict[str, Any]]()
    assert list(evolved(versions(there, gone, there))) == [
        "Cart.3.avsc: x was removed once and may not come back; choose another name"
    ]


def test_an_enum_grows_at_its_end_and_with_a_default_only() -> None:
    def enum(*symbols: str, **more: Any) -> list[dict[str, Any]]:
        return [field({"type": "enum", "name": "E", "symbols": list(symbols), **more})]

    assert list(evolved(versions(enum("A", default="A"), enum("A", "B", default="A")))) == []
    assert "only be added at the end" in next(evolved(versions(enum("A", default="A"), enum("B", "A", default="A"))))
    assert "needs a default symbol" in next(evolved(versions(enum("A"), enum("A", "B"))))


def test_changes_are_told_field_by_field() -> None:
    line = {"type": "record", "name": "Line", "fields": [field("string", "sku")]}
    longer = {"type": "record", "name": "Line", "fields": [field("string", "sku"), field("long", "quantity")]}
    rows = changes(
        schema([field("string", "gone"), field({"type": "array", "items": line}, "lines")]),
        schema([field({"type": "array", "items": longer}, "lines"), field("long", "total")]),
    )
    assert [(row["place"], row["change"]) for row in rows] == [
        ("gone", "removed"),
        ("lines", "changed"),
        ("lines.quantity", "added"),
        ("total", "added"),
    ]
