"""JSON as Kafka Connect's JsonConverter writes it (Jackson's forms), and numbers as Java prints them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

_UNSAFE = re.compile(r'["\\\x00-\x1f\ud800-\udfff\U00010000-\U0010ffff]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_BEYOND_DOUBLE = 400


class Number(str):
    """A number of a JSON text as it was written: a float would lose digits."""


def quote(text: str) -> str:
    """A JSON string; characters beyond the basic plane become two escapes, as Jackson writes them."""
    return '"' + _UNSAFE.sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if (short := _SHORT.get(character)) is not None:
        return short
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04X}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04X}\\u{0xDC00 + (code & 0x3FF):04X}"


def java_double(text: str) -> str:
    """The digits of a decimal text as Java's Double.toString and Float.toString lay them out: 1.0, 1.5E10, NaN.

    Raises ValueError for an exponent beyond all bounds.
    """
    if not text.strip("+-").startswith(tuple("0123456789.")):
        return text
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation:
        raise ValueError("a number whose exponent is beyond all bounds") from None
    assert isinstance(exponent, int)
    plain = "".join(map(str, digits)).lstrip("0")
    scale = exponent + len(plain)
    plain = plain.rstrip("0")
    minus = "-" if sign else ""
    if not plain:
        return minus + "0.0"
    if -3 < scale <= 7:
        padded = plain.ljust(scale, "0") if scale > 0 else plain.rjust(len(plain) - scale, "0")
        point = max(scale, 0)
        return f"{minus}{padded[:point] or '0'}.{padded[point:] or '0'}"
    return f"{minus}{plain[0]}.{plain[1:] or '0'}E{scale - 1}"


def parse(text: str) -> Any:
    """The value of one JSON text, with `Number` for numbers. Raises ValueError, also for a depth beyond bounds."""
    try:
        return json.loads(text, parse_int=Number, parse_float=_float, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _float(text: str) -> Number:
    """As a double prints, if a double holds the number exactly as written; else as it was written: no digit is lost."""
    if len(text) > _BEYOND_DOUBLE:
        return Number(text)
    short = repr(float(text))
    return Number(java_double(short) if _is_exactly(short, text) else text)


def _is_exactly(double: str, text: str) -> bool:
    try:
        return Decimal(double) == Decimal(text)
    except InvalidOperation:
        return False


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def write(value: Any) -> str:
    """JSON without white space of what `parse` gave."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict):
        return "{" + ",".join([f"{quote(name)}:{write(member)}" for name, member in value.items()]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([write(element) for element in value]) + "]"
    if value is None:
        return "null"
    return "true" if value else "false"


def without(value: Any, nulls: bool, empty_arrays: bool) -> Any:
    """`value` with its null members (`nulls`) or its members that are empty arrays left out, at every depth."""
    if isinstance(value, dict):
        return {
            name: without(member, nulls, empty_arrays)
            for name, member in value.items()
            if not (nulls and member is None) and not (empty_arrays and member == [])
        }
    if isinstance(value, list):
        return [without(element, nulls, empty_arrays) for element in value]
    return value


def schema_text(schema: Mapping[str, Any], optional: bool, field: str | None = None) -> str:
    """A schema in JsonConverter's order of members: what it holds, optional, name, version, parameters, field."""
    parts = [f'"type":{quote(schema["type"])}']
    if "items" in schema:
        parts.append(f'"items":{schema_text(schema["items"], schema.get("items_optional", True))}')
    if "fields" in schema:
        listed = ",".join(schema_text(inner, is_optional, name) for name, inner, is_optional in schema["fields"])
        parts.append(f'"fields":[{listed}]')
    parts.append(f'"optional":{"true" if optional else "false"}')
    if schema.get("name") is not None:
        parts.append(f'"name":{quote(schema["name"])}')
    if schema.get("version") is not None:
        parts.append(f'"version":{schema["version"]}')
    if "parameters" in schema:
        parts.append('"parameters":' + write(schema["parameters"]))
    if field is not None:
        parts.append(f'"field":{quote(field)}')
    return "{" + ",".join(parts) + "}"


def infer(value: Any, name: str | None = None) -> dict[str, Any]:
    """The schema of a parsed JSON value as the EventRouter infers it, with an optional byte string for null.

    Raises ValueError for what has none: an array of unlike values, a whole number beyond 64 bits.
    """
    if isinstance(value, Number):
        return {"type": _number_type(value)}
    if isinstance(value, dict):
        prefix = "" if name is None else name + "."
        fields = [(member, infer(inner, prefix + member), True) for member, inner in value.items()]
        return {"type": "struct", "fields": fields, "name": name}
    if isinstance(value, list):
        return {"type": "array", "items": _infer_elements(value, name)}
    if value is None:
        return {"type": "bytes"}
    return {"type": "string" if isinstance(value, str) else "boolean"}


def _number_type(number: Number) -> str:
    if not number.lstrip("-").isdigit():
        if not _is_exactly(repr(float(number)), number):
            raise ValueError("a number that no double holds")
        return "double"
    whole = int(number) if len(number) <= 20 else 1 << 64
    if -(1 << 63) <= whole < 1 << 63:
        return "int32" if -(1 << 31) <= whole < 1 << 31 else "int64"
    raise ValueError("a whole number beyond 64 bits")


def _infer_elements(elements: list[Any], name: str | None) -> dict[str, Any]:
    present = [element for element in elements if element is not None]
    if not present:
        return {"type": "string" if not elements else "bytes"}
    if all(isinstance(element, dict) for element in present):
        merged: dict[str, Any] = {}
        for element in present:
            for member, inner in element.items():
                if merged.get(member) is None:
                    merged[member] = inner
        # Every element must fit the merged schema, member by member.
        schema = infer(merged, name)
        known = {member: inner for member, inner, _ in schema["fields"]}
        for element in present:
            for member, inner in element.items():
                if inner is not None and infer(inner, f"{name}.{member}" if name else member) != known[member]:
                    raise ValueError("an array of unlike objects")
        return schema
    first = infer(present[0])
    if any(infer(element) != first for element in present[1:]):
        raise ValueError("an array of unlike values")
    return first
