"""What the Avro checker does not see between versions of a schema: units, scales, names, defaults, reuse.

Avro's rules let a decimal's scale, a moment's unit or a namespace change: readers then take the number that stands
there for another one (AVRO-2078). And a default that changes changes what old data says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from schemas.catalogue import Entry

# What gives a number or bytes their meaning; it stays as it was first published.
_MEANING = ("logicalType", "precision", "scale", "size")
_ABSENT = object()


def evolved(versions: list[Entry]) -> Iterator[str]:
    """One line for each change of meaning between any two versions of one subject, which are in order."""
    for index, newer in enumerate(versions):
        for older in versions[:index]:
            where = f"{newer.file}: since version {older.version}"
            yield from _type(older.schema, newer.schema, where)
    yield from _reused(versions)


def changes(older: dict[str, Any], newer: dict[str, Any]) -> list[dict[str, str]]:
    """What differs, field by field, as rows `{place, change, from, to}`; nested fields as `lines.sku`."""
    before, after = dict(_flat(older)), dict(_flat(newer))
    rows = []
    for place in [*before, *(place for place in after if place not in before)]:
        old, new = before.get(place), after.get(place)
        if old != new:
            change = "added" if old is None else "removed" if new is None else "changed"
            rows.append({"place": place, "change": change, "from": _text(old), "to": _text(new)})
    return rows


def _type(older: Any, newer: Any, where: str) -> Iterator[str]:
    older, newer = _plain(older), _plain(newer)
    for name in _MEANING:
        old, new = older.get(name), newer.get(name)
        if old != new:
            yield f"{where}: {name} was {old}, is {new}; a new field is needed for a new meaning"
    for name in ("name", "namespace"):
        if older.get(name) != newer.get(name):
            yield f"{where}: {name} was {older.get(name)}, is {newer.get(name)}"
    if older["type"] == newer["type"] == "record":
        yield from _fields(older, newer, where)
    elif older["type"] == newer["type"] == "enum":
        yield from _symbols(older, newer, where)
    elif older["type"] == newer["type"] == "array":
        yield from _type(older["items"], newer["items"], f"{where}: items")
    elif older["type"] == newer["type"] == "map":
        yield from _type(older["values"], newer["values"], f"{where}: values")


def _fields(older: dict[str, Any], newer: dict[str, Any], where: str) -> Iterator[str]:
    after = {field["name"]: field for field in newer["fields"]}
    for field in older["fields"]:
        there = after.get(field["name"])
        if there is None:
            continue
        place = f"{where}: {field['name']}"
        yield from _type(field["type"], there["type"], place)
        was, is_ = field.get("default", _ABSENT), there.get("default", _ABSENT)
        # Without a default at first: data that lacks the field was never written, so any may come.
        if was is not _ABSENT and was != is_:
            yield f"{place}: the default was {json.dumps(was)}; with another one old data says something else"


def _symbols(older: dict[str, Any], newer: dict[str, Any], where: str) -> Iterator[str]:
    if newer["symbols"][: len(older["symbols"])] != older["symbols"]:
        yield f"{where}: symbols may only be added at the end"
    if "default" not in older:
        yield f"{where}: an enum needs a default symbol before it can grow"


def _reused(versions: list[Entry]) -> Iterator[str]:
    """A field that was removed and came back: data of the time between has no say in what it means."""
    gone: set[str] = set()
    seen: set[str] = set()
    for entry in versions:
        names = {field["name"] for field in entry.schema["fields"]}
        for name in sorted(names & gone):
            yield f"{entry.file}: {name} was removed once and may not come back; choose another name"
        gone |= seen - names
        seen |= names


def _flat(schema: dict[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    for field in schema["fields"]:
        place = f"{under}{field['name']}"
        yield place, {name: value for name, value in field.items() if name != "name"}
        inner = _plain(field["type"])
        inner = _plain(inner["items"]) if inner["type"] == "array" else inner
        if inner["type"] == "record":
            yield from _flat(inner, f"{place}.")


def _plain(type_: Any) -> dict[str, Any]:
    """A type as a dict; of null and another one the other."""
    if isinstance(type_, list):
        type_ = next((branch for branch in type_ if branch != "null"), "null")
    return type_ if isinstance(type_, dict) else {"type": type_}


def _text(field: Any) -> str:
    return "" if field is None else json.dumps(field, sort_keys=True)
