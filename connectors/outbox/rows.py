"""Readers of rows, compiled for one relation: the columns' texts out of an insert, in straight lines.

The loop of `pgoutput.read_insert` decides anew for each value how many are left and whether there is room for it; what a
relation says once is said here in the source of a function, which takes a third of the time. `read_insert` stays the
authority: whatever does not fit a reader goes there, to be read or refused with its reason.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from connectors.outbox.pgoutput import INSERT, MESSAGE_AT, Relation, Values, read_insert

# Behind tag, oid, the mark of a new row and the count of columns.
VALUES_AT = MESSAGE_AT + 8

# PostgreSQL allows 1,664 columns; beyond these the loop reads a row as well, and no function grows large.
COLUMNS_MAX = 64

ReadRow = Callable[[bytes], Values]

_VALUE = """
        if frame[at] == 116:
            begin = at + 5
            at = begin + length(frame, at + 1)[0]
            c{number} = frame[begin:at]
        elif frame[at] == 110:
            c{number} = None
            at += 1
        else:
            return slow(frame)"""
_READER = """
def read(frame):
    at = {values_at}
    try:{values}
    except (IndexError, error):
        return slow(frame)
    return [{names}] if at == len(frame) else slow(frame)
"""


def row_head(relation: Relation) -> bytes:
    """How every row of the relation begins, from MESSAGE_AT to VALUES_AT."""
    return bytes((INSERT,)) + struct.pack(">IcH", relation.oid, b"N", len(relation.columns))


@cache
def row_reader(columns: int) -> ReadRow:
    """Reads the values of a frame that begins as `row_head` says; the function raises MalformedStream.

    A slice past the end gives less than was asked and no error, but the place moves on all the same: so one comparison at
    the end finds whatever was cut.
    """
    if not 0 < columns <= COLUMNS_MAX:
        return _slow
    names = [f"c{number}" for number in range(columns)]
    values = "".join(_VALUE.format(number=number) for number in range(columns))
    source = _READER.format(values_at=VALUES_AT, values=values, names=", ".join(names))
    scope: dict[str, Any] = {"length": struct.Struct(">I").unpack_from, "error": struct.error, "slow": _slow}
    exec(compile(source, "<generated row reader>", "exec"), scope)
    read: ReadRow = scope["read"]
    return read


def _slow(frame: bytes) -> Values:
    return read_insert(frame, MESSAGE_AT)[1]
