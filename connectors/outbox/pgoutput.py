"""Decoder of pgoutput, protocol 1 (PostgreSQL manual, "Logical Replication Message Formats"), and of the frames around it.

Pure functions over one CopyData frame; `at` is where the message begins in it. Each reads its message to the last byte
and raises MalformedStream for anything else, so a fault of the stream can never become a wrong row.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from connectors.outbox.errors import MalformedStream

KEEPALIVE = ord("k")
LOG_DATA = ord("w")
# A log frame is: tag, position, end of log, time of sending, message.
MESSAGE_AT = 25

BEGIN = ord("B")
COMMIT = ord("C")
RELATION = ord("R")
INSERT = ord("I")
UPDATE = ord("U")
LOGICAL_MESSAGE = ord("M")
# Origin, type, delete, truncate: known, and of no interest to an outbox.
SKIPPED = frozenset(b"OYDT")

# PostgreSQL counts microseconds from 2000-01-01; Unix seconds of that day.
POSTGRES_EPOCH_S = 946_684_800
EPOCH_US = POSTGRES_EPOCH_S * 1_000_000

_NULL = ord("n")
_TEXT = ord("t")
_NEW_ROW = ord("N")

_U16 = struct.Struct(">H").unpack_from
_U32 = struct.Struct(">I").unpack_from
_COLUMN = struct.Struct(">Ii").unpack_from
_KEEPALIVE = struct.Struct(">cQqB")
_BEGIN, _BEGIN_BYTES = struct.Struct(">cQqI").unpack_from, 21
_COMMIT, _COMMIT_BYTES = struct.Struct(">cBQQq").unpack_from, 26
# The same of a whole log frame, for where `read_begin` and `read_commit` would cost more than all the rest; a frame of
# another length is a struct.error. (final position, committed at), (position, end position); the time is PostgreSQL's.
unpack_begin = struct.Struct(f">{MESSAGE_AT}xxQq4x").unpack
unpack_commit = struct.Struct(f">{MESSAGE_AT}xxxQQ8x").unpack
_INSERT = struct.Struct(">cIcH")
_RELATION = struct.Struct(">cI")
_MESSAGE = struct.Struct(">cBQ")
_STATUS = struct.Struct(">cQQQqB")

Values = list[bytes | None]


@dataclass(frozen=True, slots=True)
class Keepalive:
    """The server's end of log so far; whether it wants an answer at once."""

    position: int
    reply_requested: bool


class Begin(NamedTuple):
    """`final_position` is that of the commit record; `committed_at_us` is Unix microseconds."""

    final_position: int
    committed_at_us: int
    xid: int


class Commit(NamedTuple):
    """`end_position` is the first byte behind the commit record: the only position to resume from."""

    position: int
    end_position: int
    committed_at_us: int


@dataclass(frozen=True, slots=True)
class Column:
    """A column as published; `type_oid` is that of pg_type, `modifier` its length, precision or scale (-1: none).

    What the log does not say is looked up: `required` (not null), and an enumeration's `labels`.
    """

    name: str
    type_oid: int
    modifier: int = -1
    required: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as published; sent before its first row and after each change of it."""

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row: the columns' texts (None = null) in the relation's order."""

    relation_oid: int
    values: Values


@dataclass(frozen=True, slots=True)
class LogicalMessage:
    """What pg_logical_emit_message wrote."""

    transactional: bool
    position: int
    prefix: str
    content: bytes


Message = Begin | Commit | Relation | Insert | LogicalMessage


def decode(frame: bytes, at: int = 0) -> Message | None:
    """The message at `at`; None for one that an outbox skips (also an update)."""
    if at >= len(frame):
        raise MalformedStream("an empty message")
    kind = frame[at]
    if kind == INSERT:
        return Insert(*read_insert(frame, at))
    if kind == BEGIN:
        return read_begin(frame, at)
    if kind == COMMIT:
        return read_commit(frame, at)
    if kind == RELATION:
        return read_relation(frame, at)
    if kind == LOGICAL_MESSAGE:
        return read_logical_message(frame, at)
    if kind == UPDATE or kind in SKIPPED:
        return None
    raise MalformedStream(f"a message of unknown kind {bytes([kind])!r}")


def read_keepalive(frame: bytes) -> Keepalive:
    """A `k` frame."""
    _demand(len(frame) == _KEEPALIVE.size, "a keepalive", frame)
    _, position, _, reply = _KEEPALIVE.unpack(frame)
    return Keepalive(position, reply != 0)


def read_begin(frame: bytes, at: int) -> Begin:
    if len(frame) != at + _BEGIN_BYTES:
        raise _malformed("a begin", frame)
    _, final, committed_at, xid = _BEGIN(frame, at)
    return Begin(final, committed_at + EPOCH_US, xid)


def read_commit(frame: bytes, at: int) -> Commit:
    if len(frame) != at + _COMMIT_BYTES:
        raise _malformed("a commit", frame)
    _, _, position, end, committed_at = _COMMIT(frame, at)
    if end <= position:
        raise _malformed("a commit that ends before it begins", frame)
    return Commit(position, end, committed_at + EPOCH_US)


def read_insert(frame: bytes, at: int) -> tuple[int, Values]:
    """(relation's oid, values); `rows.row_reader` does the same faster for a relation that is known."""
    size = len(frame)
    _demand(size >= at + _INSERT.size, "an insert", frame)
    _, oid, new, count = _INSERT.unpack_from(frame, at)
    _demand(new[0] == _NEW_ROW, "an insert without a new row", frame)
    values: Values = []
    position = at + _INSERT.size
    append = values.append
    for _ in range(count):
        _demand(position < size, "an insert that ends early", frame)
        kind = frame[position]
        if kind == _TEXT:
            begin = position + 5
            _demand(begin <= size, "a value without a length", frame)
            position = begin + _U32(frame, position + 1)[0]
            _demand(position <= size, "a value that ends early", frame)
            append(frame[begin:position])
        else:
            # An insert is never sent with "unchanged" values, and binary ones were not asked for.
            _demand(kind == _NULL, "a value of unknown kind", frame)
            append(None)
            position += 1
    _demand(position == size, "an insert with a rest", frame)
    return oid, values


def read_relation(frame: bytes, at: int) -> Relation:
    _demand(len(frame) >= at + _RELATION.size, "a relation", frame)
    oid = _RELATION.unpack_from(frame, at)[1]
    schema, position = _string(frame, at + _RELATION.size)
    name, position = _string(frame, position)
    _demand(position + 3 <= len(frame), "a relation that ends early", frame)
    count, position = _U16(frame, position + 1)[0], position + 3
    columns = []
    for _ in range(count):
        column, position = _string(frame, position + 1)
        _demand(position + 8 <= len(frame), "a column that ends early", frame)
        columns.append(Column(column, *_COLUMN(frame, position)))
        position += 8
    _demand(position == len(frame), "a relation with a rest", frame)
    return Relation(oid, schema, name, tuple(columns))


def read_logical_message(frame: bytes, at: int) -> LogicalMessage:
    _demand(len(frame) >= at + _MESSAGE.size, "a logical message", frame)
    _, flags, written_at = _MESSAGE.unpack_from(frame, at)
    prefix, position = _string(frame, at + _MESSAGE.size)
    _demand(position + 4 <= len(frame), "a logical message without a length", frame)
    begin = position + 4
    _demand(begin + _U32(frame, position)[0] == len(frame), "a logical message of another length", frame)
    return LogicalMessage(flags & 1 == 1, written_at, prefix, frame[begin:])


def status_update(position: int, sent_at_s: float, asks: bool = False) -> bytes:
    """The frame that tells the server: everything before `position` is written, flushed and applied here.

    `asks`: it is to answer at once, with a keepalive.
    """
    microseconds = int((sent_at_s - POSTGRES_EPOCH_S) * 1_000_000)
    return _STATUS.pack(b"r", position, position, position, microseconds, asks)


def _string(frame: bytes, at: int) -> tuple[str, int]:
    """(text, position behind its closing zero)."""
    end = frame.find(0, at)
    _demand(end >= 0, "a text without an end", frame)
    try:
        return frame[at:end].decode(), end + 1
    except UnicodeDecodeError:
        raise MalformedStream("a name that is no UTF-8") from None


def _demand(holds: bool, what: str, frame: bytes) -> None:
    if not holds:
        raise _malformed(what, frame)


def _malformed(what: str, frame: bytes) -> MalformedStream:
    return MalformedStream(f"{what}: {len(frame)} bytes, {frame[:40].hex()}")
