"""Kafka Connect's converters, compiled for one column: texts of PostgreSQL in, the bytes of a key, value or header out."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from connectors.outbox.config import Form
from connectors.outbox.kinds import Kind
from connectors.outbox.values import Convert

_FORMAT_BY_FORM = {"int16": ">h", "int32": ">i", "int64": ">q", "float": ">f", "double": ">d", "boolean": ">?"}


class Written(NamedTuple):
    """How a column is written; `convert` None: as it is. `null` stands for null."""

    convert: Convert | None
    null: bytes | None = None


def schema_opening(schema: str) -> bytes:
    """What stands before a value that carries its schema; `}` closes it."""
    return b'{"schema":' + schema.encode() + b',"payload":'


def written(kind: Kind, form: Form, required: bool, plain: Convert | None) -> Written:
    """The column in this form; `plain` is what the plain form does."""
    if form.kind == "plain":
        return Written(plain)
    if form.kind != "json":
        return Written(_packed(form.kind))
    if not form.schemas:
        return Written(kind.json, b"null")
    opening, convert = schema_opening(kind.schema_text(not required)), kind.json
    return Written(lambda text: opening + convert(text) + b"}", opening + b"null}")


def _packed(form: str) -> Convert:
    pack: Callable[[Any], bytes] = struct.Struct(_FORMAT_BY_FORM[form]).pack
    if form == "boolean":
        return lambda text: pack(text == b"t")
    number: Callable[[bytes], object] = float if form in ("float", "double") else int

    def convert(text: bytes) -> bytes:
        try:
            return pack(number(text))
        except (struct.error, OverflowError) as wrong:
            raise ValueError(str(wrong)) from None

    return convert
