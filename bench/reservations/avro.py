"""Avro records of strings and whole numbers, read and written by straight-line Python that is made from the schema.

fastavro walks the schema for each record; for records of five small fields that walk is most of the time. The pieces
are those of Tally's generated codec, which has classes where these are dicts. The bytes are the same, and `--verify`
reads the outcomes with fastavro.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas import varints
from schemas.varints import SMALL_COUNT

PREFIX = b"\0\0\0\0\1"  # the Confluent prefix: what Tally's messages carry

_NAMES = {name: getattr(varints, name) for name in varints.__all__} | {"PREFIX": PREFIX, "join": b"".join}

_READ_NUMBER = """\
    if NUMBER > 127:
        NUMBER += (buf[at] << 7) - 0x80; at += 1
        if NUMBER > 0x3FFF:
            NUMBER += (buf[at] << 14) - 0x4000; at += 1
            if NUMBER > 0x1FFFFF: NUMBER, at = read_varint(buf, at - 3)
    NUMBER = (NUMBER >> 1) ^ -(NUMBER & 1)""".splitlines()


def reader(schema: dict[str, Any]) -> Callable[[bytes], dict[str, Any]]:
    """Bytes behind the prefix to a dict. Raises IndexError, ValueError or UnicodeDecodeError on bytes that are none of its own."""
    lines = ["def read(buf):", f"    at = {len(PREFIX)}"]
    for number, field in enumerate(schema["fields"]):
        lines += [f"    n{number} = buf[at]; at += 1"]
        if field["type"] == "string":
            lines += [f"    if n{number} & 129: n{number}, at = read_size(buf, at - 1); end = at + n{number}"]
            lines += [f"    else: end = at + (n{number} >> 1)"]
            lines += [f"    n{number} = buf[at:end].decode(); at = end"]
        else:
            lines += [line.replace("NUMBER", f"n{number}") for line in _READ_NUMBER]
    items = ", ".join(f"{field['name']!r}: n{number}" for number, field in enumerate(schema["fields"]))
    return _made([*lines, f"    return {{{items}}}"], "read")


def writer(schema: dict[str, Any]) -> Callable[[dict[str, Any]], bytes]:
    """A dict to the prefix and bytes."""
    lines, parts = ["def write(row):"], ["PREFIX"]
    for number, field in enumerate(schema["fields"]):
        name, is_text = f"v{number}", field["type"] == "string"
        lines.append(f"    {name} = row[{field['name']!r}]{'.encode()' if is_text else ''}")
        if is_text:
            parts += [f"SMALL[len({name})] if len({name}) < {SMALL_COUNT} else write_long(len({name}), 'size')", name]
        else:
            parts.append(f"SMALL[{name}] if 0 <= {name} < {SMALL_COUNT} else write_long({name}, {field['name']!r})")
    return _made([*lines, f"    return join(({', '.join(parts)}))"], "write")


def _made(lines: list[str], name: str) -> Any:
    scope = dict(_NAMES)
    exec("\n".join(lines), scope)
    return scope[name]
