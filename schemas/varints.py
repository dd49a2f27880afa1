"""Avro's binary pieces, as the generated codecs call them: whole numbers, sizes, moments, maps of bytes.

Source: the Avro specification, "Binary encoding". Readers take (bytes, place) and give (value, next place).
They refuse what no writer writes and the Avro library lets pass: a number beyond 64 bits, a count below zero.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# The Confluent prefix: a zero and the schema id, 4 bytes, big endian.
PREFIX_BYTES = 5
# A number of 64 bits takes at most ten groups of seven.
_VARINT_BYTES_MAX = 10
_INT_LIMIT, _LONG_LIMIT = 1 << 31, 1 << 63

NULL, SOME = b"\x00", b"\x02"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLI = timedelta(milliseconds=1)


def write_long(value: int, name: str, limit: int = _LONG_LIMIT) -> bytes:
    """Zigzag and seven bits a byte, for anything of 64 bits. Raises ValueError."""
    # A bool, a float or a number out of range would be written without a word by a general library.
    if type(value) is not int or not -limit <= value < limit:
        raise ValueError(f"{name} is {value!r}, not a whole number in range")
    rest = (value << 1) ^ (value >> 63)
    if rest < 1 << 14:
        return _WRITTEN[rest]
    if rest < 1 << 28:
        at = (rest & 0x3FFF) << 1
        return _MARKED[at : at + 2] + _WRITTEN[rest >> 14]
    return _groups(rest)


def write_int(value: int, name: str) -> bytes:
    """The same for 32 bits."""
    return write_long(value, name, _INT_LIMIT)


def write_millis(value: datetime, name: str) -> bytes:
    """A moment as milliseconds since 1970; what is finer is cut off. Raises ValueError without a time zone."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(f"{name} is {value!r}, not a moment with a time zone")
    # Cut towards the past, before 1970 too, as the Avro library does.
    return write_long((value - _EPOCH) // _MILLI, name)


def write_map(value: dict[str, bytes]) -> bytes:
    """A map of bytes: one block, and an empty one. Raises TypeError and AttributeError."""
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no map")
    if not value:
        return NULL
    pieces = [write_long(len(value), "count")]
    for key, held in value.items():
        name = key.encode()
        pieces += (write_long(len(name), "size"), name, write_long(len(held), "size"), held)
    return b"".join((*pieces, NULL))


def _groups(rest: int) -> bytes:
    """Seven bits a byte, the lowest first, each but the last with a mark that more follow."""
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def read_varint(buf: bytes, pos: int) -> tuple[int, int]:
    """A number before zigzag is undone, below 2**64. Raises IndexError past the end, ValueError when too long."""
    # Each group is added with the mark of the one before it taken away; up to four of them without a loop.
    number = buf[pos]
    if number < 128:
        return number, pos + 1
    number += (buf[pos + 1] << 7) - 128
    if number < 1 << 14:
        return number, pos + 2
    number += (buf[pos + 2] << 14) - (1 << 14)
    if number < 1 << 21:
        return number, pos + 3
    number += (buf[pos + 3] << 21) - (1 << 21)
    if number < 1 << 28:
        return number, pos + 4
    return _read_long_varint(buf, pos)


def _read_long_varint(buf: bytes, pos: int) -> tuple[int, int]:
    number, shift = 0, 0
    for at in range(pos, pos + _VARINT_BYTES_MAX):
        byte = buf[at]
        number |= (byte & 127) << shift
        if byte < 128:
            if number >> 64:
                raise too_wide(number)
            return number, at + 1
        shift += 7
    raise ValueError("a number of more than ten bytes")


def read_long(buf: bytes, pos: int) -> tuple[int, int]:
    """A whole number of 64 bits."""
    number, pos = read_varint(buf, pos)
    return (number >> 1) ^ -(number & 1), pos


def read_int(buf: bytes, pos: int) -> tuple[int, int]:
    """A whole number of 32 bits. Raises ValueError for a wider one."""
    number, pos = read_varint(buf, pos)
    if number >> 32:
        raise too_wide(number)
    return _plain(number), pos


def read_size(buf: bytes, pos: int) -> tuple[int, int]:
    """A length, from zero. Raises ValueError below zero."""
    number, pos = read_varint(buf, pos)
    if number & 1:
        raise ValueError("a length below zero")
    return number >> 1, pos


def read_count(buf: bytes, pos: int) -> tuple[int, int]:
    """How many items a block holds; 0 ends the array. A count below zero has the block's size in bytes behind it."""
    number, pos = read_varint(buf, pos)
    if number & 1:
        _, pos = read_varint(buf, pos)
        return (number >> 1) + 1, pos
    return number >> 1, pos


def read_map(buf: bytes, pos: int) -> tuple[dict[str, bytes], int]:
    """A map of bytes; of a repeated name the last counts."""
    found: dict[str, bytes] = {}
    while True:
        count, pos = read_count(buf, pos)
        if not count:
            return found, pos
        for _ in range(count):
            size, pos = read_size(buf, pos)
            name, pos = buf[pos : pos + size].decode(), pos + size
            size, pos = read_size(buf, pos)
            found[name], pos = buf[pos : pos + size], pos + size


def moment(millis: int) -> datetime:
    """Milliseconds since 1970 as aware UTC. Raises OverflowError outside the years 1 to 9999."""
    return _EPOCH + timedelta(milliseconds=millis)


def ends(buf: bytes, pos: int) -> ValueError:
    """The body and the bytes do not end at one place."""
    if pos < len(buf):
        return ValueError(f"{len(buf) - pos} bytes are left over")
    return ValueError(f"{pos - len(buf)} bytes are missing")


def no_branch(branch: int) -> ValueError:
    """A branch that is neither null nor the other one."""
    return ValueError(f"a union has no branch {_plain(branch)}")


def too_wide(number: int) -> ValueError:
    """A number that its type cannot hold."""
    return ValueError(f"the number {_plain(number)} is wider than its type")


def _plain(number: int) -> int:
    """Zigzag undone."""
    return (number >> 1) ^ -(number & 1)


# Most lengths, quantities and line numbers are small: looking them up beats working them out, both ways.
# PLAIN and _WRITTEN hold what one or two bytes can say, _MARKED two bytes each of which more follow.
_WRITTEN = tuple(map(_groups, range(1 << 14)))
_MARKED = b"".join(bytes((number & 127 | 128, number >> 7 | 128)) for number in range(1 << 14))
PLAIN = tuple(_plain(number) for number in range(1 << 14))
SMALL_COUNT = 1 << 13
SMALL = _WRITTEN[::2]  # of numbers from zero

__all__ = [
    "NULL",
    "PLAIN",
    "PREFIX_BYTES",
    "SMALL",
    "SMALL_COUNT",
    "SOME",
    "ends",
    "moment",
    "no_branch",
    "read_count",
    "read_int",
    "read_long",
    "read_map",
    "read_size",
    "read_varint",
    "too_wide",
    "write_int",
    "write_long",
    "write_map",
    "write_millis",
]
