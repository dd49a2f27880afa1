"""Readers of rows, compiled for one relation: out of an insert's frame, in straight lines, what is wanted of its columns.

The loop of `pgoutput.read_insert` decides anew for each value how many are left and whether there is room for it; what a
relation says once is said here in the source of a function, which takes a third of the time. `read_insert` stays the
authority: a frame that does not fit goes there, to be read or refused with its reason.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
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
            {column} = frame[begin:at]
        elif frame[at] == 110:
            {column} = None
            at += 1
        else:
            return slow(frame)"""
_READER = """
def read(frame):
    at = {values_at}
    try:{values}
    except (IndexError, error):
        return slow(frame)
    if at != len(frame):
        return slow(frame)
    return {result}
"""


def row_head(relation: Relation) -> bytes:
    """How every row of the relation begins, from MESSAGE_AT to VALUES_AT."""
    return bytes((INSERT,)) + struct.pack(">IcH", relation.oid, b"N", len(relation.columns))


@cache
def row_reader(columns: int) -> ReadRow:
    """Reads the values of a frame that begins as `row_head` says; the function raises MalformedStream."""
    if not 0 < columns <= COLUMNS_MAX:
        return _values
    return compiled(columns, f"[{', '.join(map(column_name, range(columns)))}]", {}, _values)


def column_name(at: int) -> str:
    """What a `result` calls the column's text (None if it is null)."""
    return f"c{at}"


def compiled(
    columns: int, result: str, scope: Mapping[str, Any], slow: Callable[[bytes], Any]
) -> Callable[[bytes], Any]:
    """A function from a frame to `result`, an expression over the names of the columns and those in `scope`.

    `slow` answers for a frame that does not fit. A slice past the end gives less than was asked and no error, but the place
    moves on all the same: so one comparison at the end finds whatever was cut.
    """
    values = "".join(_VALUE.format(column=column_name(at)) for at in range(columns))
    source = _READER.format(values_at=VALUES_AT, values=values, result=result)
    names = {"length": struct.Struct(">I").unpack_from, "error": struct.error, "slow": slow, **scope}
    exec(compile(source, "<generated row reader>", "exec"), names)
    read: Callable[[bytes], Any] = names["read"]
    return read


def _values(frame: bytes) -> Values:
    return read_insert(frame, MESSAGE_AT)[1]
