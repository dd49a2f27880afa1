"""Kinds of columns: for each PostgreSQL type what Debezium makes of it, as text, as bytes, as JSON and as a schema."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from connectors.outbox import values as texts
from connectors.outbox.json_text import java_double, quote, schema_text
from connectors.outbox.pgoutput import Column
from connectors.outbox.values import Convert

Decimals = Literal["precise", "string", "double"]
Times = Literal["adaptive", "adaptive_time_microseconds"]

# Time types of up to three digits are milliseconds in Debezium's adaptive mode, microseconds beyond.
_MILLISECOND_DIGITS = 3
_MICROSECOND_DIGITS = 6
_NO_MODIFIER = -1
# Java writes a BigDecimal with an exponent only beyond six leading zeros.
_PLAIN_SCALE = 6
# As of a numeric(19,2).
_MONEY_MODIFIER = (19 << 16 | 2) + 4


@dataclass(frozen=True, slots=True)
class TypeModes:
    """Debezium's `decimal.handling.mode` and `time.precision.mode`, and JsonConverter's `decimal.format`.

    `padded_zoned`: a timestamptz has as many digits behind the point as its column may have, as from Debezium.
    """

    decimals: Decimals = "precise"
    times: Times = "adaptive"
    decimal_numeric: bool = False
    padded_zoned: bool = False


class Kind(NamedTuple):
    """What becomes of a column. Each Convert takes PostgreSQL's text, None means "as it is"; they raise ValueError.

    `header`: as SimpleHeaderConverter writes it. `plain`: as key or payload of a StringConverter or ByteArrayConverter;
    bytes stay bytes. `json`: as JsonConverter writes it. `schema`: JsonConverter's, without "optional".
    """

    header: Convert | None
    plain: Convert | None
    json: Convert
    schema: Mapping[str, Any]

    def schema_text(self, optional: bool, field: str | None = None) -> str:
        """The schema as JSON."""
        return schema_text(self.schema, optional, field)


def json_string(text: bytes) -> bytes:
    """A JSON string of a text. Raises ValueError."""
    return quote(text.decode()).encode()


def _same(text: bytes) -> bytes:
    return text


def _string(name: str | None = None, **more: Any) -> Kind:
    schema = {"type": "string"} | ({"name": name, "version": 1} if name else {}) | more
    return Kind(None, None, json_string, schema)


def _converted_string(convert: Convert, name: str | None) -> Kind:
    schema = {"type": "string"} | ({"name": name, "version": 1} if name else {})
    return Kind(convert, convert, lambda text: json_string(convert(text)), schema)


def _digits(convert: Convert | None, kind: str, name: str | None = None) -> Kind:
    schema = {"type": kind} | ({"name": name, "version": 1} if name else {})
    return Kind(convert, convert, convert or _same, schema)


def _double(text: bytes) -> bytes:
    return java_double(text.decode("ascii")).encode()


def _json_double(text: bytes) -> bytes:
    content = _double(text)
    return content if content[-1:].isdigit() else b'"' + content + b'"'


def _json_bytes(text: bytes) -> bytes:
    return b'"' + base64.b64encode(texts.raw_bytes(text)) + b'"'


def _floating(kind: str) -> Kind:
    return Kind(_double, _double, _json_double, {"type": kind})


STRING = _string()
JSON = _string("io.debezium.data.Json")
_BOOLEAN = _digits(texts.boolean, "boolean")
_BYTES = Kind(texts.base64_text, texts.raw_bytes, _json_bytes, {"type": "bytes"})

_BY_TYPE: dict[int, Kind] = {
    texts.BOOL: _BOOLEAN,
    texts.BYTEA: _BYTES,
    20: _digits(None, "int64"),
    21: _digits(None, "int16"),
    23: _digits(None, "int32"),
    26: _digits(None, "int64"),
    700: _floating("float"),
    701: _floating("double"),
    texts.JSON: JSON,
    texts.JSONB: JSON,
    142: _string("io.debezium.data.Xml"),
    2950: _string("io.debezium.data.Uuid"),
    texts.DATE: _digits(texts.days, "int32", "io.debezium.time.Date"),
    texts.TIMESTAMPTZ: _converted_string(texts.zoned, "io.debezium.time.ZonedTimestamp"),
    texts.TIMETZ: _converted_string(texts.zoned_time, "io.debezium.time.ZonedTime"),
    texts.INTERVAL: _digits(texts.interval_us, "int64", "io.debezium.time.MicroDuration"),
}
# Type of an array -> type of its elements.
_ELEMENT_BY_ARRAY = {
    1000: 16, 1001: 17, 1002: 18, 1003: 19, 1005: 21, 1007: 23, 1009: 25, 1014: 1042, 1015: 1043, 1016: 20,
    1021: 700, 1022: 701, 1028: 26, 1115: 1114, 1182: 1082, 1183: 1083, 1185: 1184, 1231: 1700, 199: 114, 3807: 3802,
    2951: 2950, 1041: 869, 651: 650, 143: 142, 1187: 1186, 1270: 1266,
}  # fmt: skip


def kind_of(column: Column, modes: TypeModes) -> Kind:
    """The kind of a column; a type that is not known is a text, as PostgreSQL writes it."""
    oid, modifier = column.type_oid, column.modifier
    if (element := _ELEMENT_BY_ARRAY.get(oid)) is not None:
        return _array(kind_of(Column("", element, modifier), modes))
    if oid == texts.NUMERIC:
        return _decimal(modifier, modes)
    if oid == texts.MONEY:
        return _money(modes)
    if oid == texts.TIMESTAMP:
        return _timestamp(modifier)
    if oid == texts.TIMESTAMPTZ and modes.padded_zoned:
        digits = _MICROSECOND_DIGITS if modifier == _NO_MODIFIER else modifier
        return _converted_string(lambda text: texts.padded_zoned(text, digits), "io.debezium.time.ZonedTimestamp")
    if oid == texts.TIME:
        return _time(modifier, modes)
    if oid in (texts.BIT, texts.VARBIT):
        return _digits(texts.bit, "boolean") if (oid, modifier) == (texts.BIT, 1) else _bits(modifier)
    if column.labels:
        return _string("io.debezium.data.Enum", parameters={"allowed": ",".join(column.labels)})
    return _BY_TYPE.get(oid, STRING)


def _timestamp(modifier: int) -> Kind:
    if _NO_MODIFIER < modifier <= _MILLISECOND_DIGITS:
        return _digits(texts.milliseconds, "int64", "io.debezium.time.Timestamp")
    return _digits(texts.microseconds, "int64", "io.debezium.time.MicroTimestamp")


def _time(modifier: int, modes: TypeModes) -> Kind:
    if _NO_MODIFIER < modifier <= _MILLISECOND_DIGITS and modes.times == "adaptive":
        return _digits(texts.milliseconds_of_day, "int32", "io.debezium.time.Time")
    return _digits(texts.microseconds_of_day, "int64", "io.debezium.time.MicroTime")


def _bits(length: int) -> Kind:
    schema: dict[str, Any] = {"type": "bytes", "name": "io.debezium.data.Bits", "version": 1}
    if length != _NO_MODIFIER:
        schema["parameters"] = {"length": str(length)}
    return Kind(
        lambda text: base64.b64encode(texts.bits(text)),
        texts.bits,
        lambda text: b'"' + base64.b64encode(texts.bits(text)) + b'"',
        schema,
    )


def _decimal(modifier: int, modes: TypeModes) -> Kind:
    if modes.decimals == "string":
        return STRING
    if modes.decimals == "double":
        return Kind(_double_of_decimal, _double_of_decimal, _double_of_decimal, {"type": "double"})
    if modifier == _NO_MODIFIER:
        # Debezium's header and key would be a structure of scale and bytes: the digits say the same to everybody.
        fields = [("scale", {"type": "int32"}, False), ("value", {"type": "bytes"}, False)]
        name = "io.debezium.data.VariableScaleDecimal"
        return Kind(None, None, _variable_decimal, {"type": "struct", "fields": fields, "name": name, "version": 1})
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    schema = {
        "type": "bytes",
        "name": "org.apache.kafka.connect.data.Decimal",
        "version": 1,
        "parameters": {"scale": str(scale), "connect.decimal.precision": str(precision)},
    }
    text: Convert | None = _java_decimal if scale > _PLAIN_SCALE else None
    return Kind(text, text, _same if modes.decimal_numeric else _unscaled, schema)


def _money(modes: TypeModes) -> Kind:
    """A decimal of two digits whose text carries a sign of currency and commas."""
    digits, amount = texts.money_digits, _decimal(_MONEY_MODIFIER, modes)
    schema = {**amount.schema, "parameters": {"scale": "2"}} if amount.schema["type"] == "bytes" else amount.schema
    convert, as_json = amount.header or _same, amount.json
    return Kind(
        lambda text: convert(digits(text)),
        lambda text: convert(digits(text)),
        lambda text: as_json(digits(text)),
        schema,
    )


def _java_decimal(text: bytes) -> bytes:
    return str(Decimal(text.decode("ascii"))).encode()


def _double_of_decimal(text: bytes) -> bytes:
    return java_double(repr(float(text))).encode()


def _unscaled(text: bytes) -> bytes:
    _, value = _scale_and_unscaled(text)
    return b'"' + value + b'"'


def _variable_decimal(text: bytes) -> bytes:
    return b'{"scale":%d,"value":"%s"}' % _scale_and_unscaled(text)


def _scale_and_unscaled(text: bytes) -> tuple[int, bytes]:
    """(digits behind the point, the number without point as big-endian two's complement in base64)."""
    whole, _, fraction = text.decode("ascii").partition(".")
    number = int(whole + fraction)
    size = (number if number >= 0 else ~number).bit_length() // 8 + 1
    return len(fraction), base64.b64encode(number.to_bytes(size, "big", signed=True))


def _array(element: Kind) -> Kind:
    def listed(convert: Convert) -> Convert:
        def array(text: bytes) -> bytes:
            return _list_text(texts.array_elements(text), convert).encode()

        return array

    header = listed(_embedded(element))
    return Kind(header, header, listed(element.json), {"type": "array", "items": element.schema})


def _embedded(element: Kind) -> Convert:
    """An element within a header's list: texts in quotes with only quotes and backslashes escaped, others bare."""
    convert: Callable[[bytes], bytes] = element.header or _same
    if element is not _BYTES and element.schema["type"] != "string":
        return convert

    def quoted(text: bytes) -> bytes:
        return b'"' + convert(text).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'

    return quoted


def _list_text(elements: list[Any], convert: Convert) -> str:
    written = [
        "null" if one is None else _list_text(one, convert) if isinstance(one, list) else convert(one).decode()
        for one in elements
    ]
    return "[" + ",".join(written) + "]"
