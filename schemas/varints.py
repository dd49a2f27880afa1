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


def write_long(value: int, name: str) -> bytes:
    """Zigzag and seven bits a byte, for anything of 64 bits. Raises ValueError."""
    return _write(value, name, _LONG_LIMIT)


def write_int(value: int, name: str) -> bytes:
    """The same for 32 bits."""
    return _write(value, name, _INT_LIMIT)


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


def _write(value: int, name: str, limit: int) -> bytes:
    # A bool, a float or a number out of range would be written without a word by a general library.
    if type(value) is not int or not -limit <= value < limit:
        raise ValueError(f"{name} is {value!r}, not a whole number in range")
    rest, out = (value << 1) ^ (value >> 63), bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def read_varint(buf: bytes, pos: int) -> tuple[int, int]:
    """A number before zigzag is undone, below 2**64. Raises IndexError past the end, ValueError when too long."""
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
    return _plain(number), pos


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
# PLAIN holds what one or two bytes can say.
PLAIN = tuple(_plain(number) for number in range(1 << 14))
SMALL_COUNT = 1 << 13
SMALL = tuple(_write(number, "small", _LONG_LIMIT) for number in range(SMALL_COUNT))

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
