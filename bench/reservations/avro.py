"""Avro records of strings and whole numbers, read and written by straight-line Python that is made from the schema.

fastavro walks the schema for each record; for records of five small fields that walk is most of the time. The bytes are
the same, and `--verify` reads the outcomes with fastavro.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PREFIX = b"\0\0\0\0\1"  # the Confluent prefix: what Tally's messages carry


def _long_bytes(value: int) -> bytes:
    """Avro's zigzag and varint form."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_SMALL = tuple(_long_bytes(n) for n in range(16_384))


def _long(value: int) -> bytes:
    return _SMALL[value] if 0 <= value < 16_384 else _long_bytes(value)


def _long_at(data: bytes, at: int) -> tuple[int, int]:
    """The number at an index, and the index behind it."""
    shift = rest = 0
    while True:
        byte = data[at]
        at += 1
        rest |= (byte & 127) << shift
        if byte < 128:
            return (rest >> 1) ^ -(rest & 1), at
        shift += 7


def reader(schema: dict[str, Any]) -> Callable[[bytes], dict[str, Any]]:
    """Bytes behind the prefix to a dict. Raises IndexError or UnicodeDecodeError on bytes that are none of its own."""
    lines = ["def read(data):", f"    at = {len(PREFIX)}"]
    for number, field in enumerate(schema["fields"]):
        lines += ["    byte = data[at]", f"    if byte < 128: n{number} = (byte >> 1) ^ -(byte & 1); at += 1"]
        lines += [f"    else: n{number}, at = long_at(data, at)"]
        if field["type"] == "string":
            lines += [f"    end = at + n{number}", f"    n{number} = str(data[at:end], 'utf-8')", "    at = end"]
    items = ", ".join(f"{field['name']!r}: n{number}" for number, field in enumerate(schema["fields"]))
    return _made("\n".join([*lines, f"    return {{{items}}}"]), "read", {"long_at": _long_at})


def writer(schema: dict[str, Any]) -> Callable[[dict[str, Any]], bytes]:
    """A dict to the prefix and bytes."""
    lines, parts = ["def write(row):"], ["prefix"]
    for number, field in enumerate(schema["fields"]):
        if field["type"] == "string":
            lines.append(f"    s{number} = row[{field['name']!r}].encode()")
            parts += [f"long(len(s{number}))", f"s{number}"]
        else:
            parts.append(f"long(row[{field['name']!r}])")
    made = "\n".join([*lines, f"    return b''.join(({', '.join(parts)}))"])
    return _made(made, "write", {"long": _long, "prefix": PREFIX})


def _made(source: str, name: str, names: dict[str, Any]) -> Any:
    exec(source, names)
    return names[name]
