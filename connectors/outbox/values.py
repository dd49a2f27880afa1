"""PostgreSQL's texts of values, as the bytes that Debezium would put into a key, a header or a payload."""

from __future__ import annotations

import base64
import re
from binascii import unhexlify
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

Convert = Callable[[bytes], bytes]

# Types by their oid in pg_type.
BOOL, BYTEA, JSON, JSONB, NUMERIC, BIT, VARBIT, MONEY = 16, 17, 114, 3802, 1700, 1560, 1562, 790
DATE, TIME, TIMESTAMP, TIMESTAMPTZ, INTERVAL, TIMETZ = 1082, 1083, 1114, 1184, 1186, 1266

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# `2024-02-29 12:34:56.123456+02`; a year has four digits here, what lies before or beyond has no place in Kafka.
_ZONE_HOURS = re.compile(r"[+-]\d\d$")
_FAR_DATE = re.compile(r"(\d{4,})-(\d\d)-(\d\d)( BC)?")
_FAR_TIMESTAMP = re.compile(r"(\d{4,})-(\d\d)-(\d\d) ([\d:.]+)(?:\+00)?( BC)?")
_DAY_US = 86_400_000_000
_CYCLE_DAYS = 146_097
_INFINITE_US = {b"infinity": 9_223_372_036_825_200_000, b"-infinity": -9_223_372_036_832_400_000}
_INFINITE_DAYS = {b"infinity": (1 << 31) - 1, b"-infinity": -(1 << 31)}
_INTERVAL_PART = re.compile(r"([+-]?\d+) (year|mon|day)s?")
_INTERVAL_TIME = re.compile(r"([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?")
# Debezium's month is the mean one: 365.25 days in twelve.
_US_BY_UNIT = {"year": 31_557_600_000_000, "mon": 2_629_800_000_000, "day": 86_400_000_000}
_ARRAY_TOKEN = re.compile(r'\{|\}|,|"(?:[^"\\]|\\.)*"|[^{},"]+', re.DOTALL)
_ARRAY_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def raw_bytes(text: bytes) -> bytes:
    """A bytea's bytes from its hex text. Raises ValueError."""
    if text[:2] != b"\\x":
        raise ValueError("a bytea that is not in hex form: bytea_output was changed")
    return unhexlify(text[2:])


def moment(text: bytes) -> datetime:
    """An aware UTC moment from a timestamp (taken as UTC) or timestamptz of the years 1 to 9999. Raises ValueError."""
    content = text.decode("ascii")
    if _ZONE_HOURS.search(content):
        content += ":00"
    found = datetime.fromisoformat(content)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def epoch_us(text: bytes) -> int:
    """Unix microseconds of a timestamp of any year; for infinity what Debezium sends. Raises ValueError."""
    try:
        return (moment(text) - _EPOCH) // _MICROSECOND
    except ValueError:
        pass
    if text in _INFINITE_US:
        return _INFINITE_US[text]
    found = _FAR_TIMESTAMP.fullmatch(text.decode("ascii"))
    if found is None:
        raise ValueError("no timestamp in UTC")
    return _days_of(found[1], found[2], found[3], found[5]) * _DAY_US + _time_us(found[4].encode())


def epoch_ms(text: bytes) -> int:
    """Unix milliseconds, never negative: Kafka has no time before 1970. Raises ValueError."""
    found = epoch_us(text) // 1000
    if text in _INFINITE_US:
        raise ValueError("an infinite time")
    if found < 0:
        raise ValueError("a time before 1970")
    return found


def positive(text: bytes) -> int:
    """Unix milliseconds from a number. Raises ValueError below 0."""
    number = int(text)
    if number < 0:
        raise ValueError("a time before 1970")
    return number


def boolean(text: bytes) -> bytes:
    """true or false."""
    return b"true" if text == b"t" else b"false"


def bit(text: bytes) -> bytes:
    """A bit(1) as true or false."""
    return b"true" if text == b"1" else b"false"


def base64_text(text: bytes) -> bytes:
    """A bytea in base64."""
    return base64.b64encode(raw_bytes(text))


def microseconds(text: bytes) -> bytes:
    """As Debezium's MicroTimestamp: digits of Unix microseconds."""
    return b"%d" % epoch_us(text)


def milliseconds(text: bytes) -> bytes:
    """As Debezium's Timestamp: digits of Unix milliseconds."""
    if text in _INFINITE_US:
        return b"%d" % _INFINITE_US[text]
    return b"%d" % (epoch_us(text) // 1000)


def zoned(text: bytes) -> bytes:
    """As Debezium's ZonedTimestamp: RFC 3339 in UTC with as many digits as needed, at least whole seconds."""
    # The server sends UTC (the stream sets its time zone), so a change of two characters is enough; this is the hot path.
    if text.endswith(b"+00") and text[10:11] == b" " and len(text) <= 29:
        return text[:10] + b"T" + text[11:-3] + b"Z"
    try:
        return moment(text).isoformat().replace("+00:00", "Z").encode()
    except ValueError:
        # A year beyond four digits, one before Christ, infinity: as PostgreSQL writes it.
        return text


def padded_zoned(text: bytes, digits: int) -> bytes:
    """As `zoned`, with exactly so many digits behind the point."""
    made = zoned(text)
    if not digits or not made.endswith(b"Z"):
        return made
    whole, _, fraction = made[:-1].partition(b".")
    return whole + b"." + fraction.ljust(digits, b"0") + b"Z"


def zoned_time(text: bytes) -> bytes:
    """As Debezium's ZonedTime: a timetz in UTC. The midnight that ends a day is that of the next: a time has no day."""
    content = text.decode("ascii")
    if content.startswith("24:"):
        content = "00:" + content[3:]
    at = datetime.fromisoformat(f"2000-01-01T{content}{':00' if _ZONE_HOURS.search(content) else ''}").astimezone(UTC)
    fraction = f".{at.microsecond:06d}".rstrip("0") if at.microsecond else ""
    return f"{at:%H:%M:%S}{fraction}Z".encode()


def days(text: bytes) -> bytes:
    """Days since 1970-01-01 of a date of any year; for infinity the ends of 32 bits. Raises ValueError."""
    if text in _INFINITE_DAYS:
        return b"%d" % _INFINITE_DAYS[text]
    found = _FAR_DATE.fullmatch(text.decode("ascii"))
    if found is None:
        raise ValueError("no date")
    return b"%d" % _days_of(*found.groups())


def microseconds_of_day(text: bytes) -> bytes:
    """Since midnight; 24:00:00 is one."""
    return b"%d" % _time_us(text)


def milliseconds_of_day(text: bytes) -> bytes:
    """Since midnight."""
    return b"%d" % (_time_us(text) // 1000)


def money_digits(text: bytes) -> bytes:
    """The amount of a money as the locale C writes it: -$1,234.50 is -1234.50."""
    return text.replace(b"$", b"").replace(b",", b"")


def bits(text: bytes) -> bytes:
    """A bit string's bytes, the last bit the lowest of the first byte, as Debezium's Bits."""
    return int(text, 2).to_bytes((len(text) + 7) // 8, "little")


def _time_us(text: bytes) -> int:
    hours, minutes, seconds = text.split(b":")
    whole, _, fraction = seconds.partition(b".")
    return (int(hours) * 3600 + int(minutes) * 60 + int(whole)) * 1_000_000 + int(fraction.ljust(6, b"0"))


def _days_of(year: str, month: str, day: str, era: str | None) -> int:
    """Days since 1970-01-01: a year of the Gregorian calendar's 400-year cycle, and the cycles apart."""
    number = 1 - int(year) if era else int(year)
    cycles, within = divmod(number - 2000, 400)
    return cycles * _CYCLE_DAYS + (date(2000 + within, int(month), int(day)) - _EPOCH.date()).days


def interval_us(text: bytes) -> bytes:
    """As Debezium's MicroDuration: microseconds, with mean months. Raises ValueError."""
    content = text.decode("ascii")
    total = sum(int(part[1]) * _US_BY_UNIT[part[2]] for part in _INTERVAL_PART.finditer(content))
    rest = _INTERVAL_PART.sub("", content).strip()
    if rest:
        time = _INTERVAL_TIME.fullmatch(rest)
        if time is None:
            raise ValueError("an interval of another form: IntervalStyle was changed")
        sign, hours, minutes, seconds, fraction = time.groups()
        of_day = (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1_000_000
        of_day += int((fraction or "").ljust(6, "0"))
        total += -of_day if sign == "-" else of_day
    return b"%d" % total


def array_elements(text: bytes) -> list[Any]:
    """Elements of an array's text: bytes, None for null, lists for further dimensions. Raises ValueError."""
    content = text.decode()
    if content.startswith("["):
        # Bounds that do not begin at 1 stand before it.
        content = content.partition("=")[2]
    stack: list[list[Any]] = [[]]
    for token in _ARRAY_TOKEN.findall(content):
        if token == "{":
            stack.append([])
        elif token == "}":
            if len(stack) == 1:
                raise ValueError("an array that ends before it begins")
            ended = stack.pop()
            stack[-1].append(ended)
        elif token.startswith('"'):
            stack[-1].append(_ARRAY_ESCAPE.sub(r"\1", token[1:-1]).encode())
        elif token != ",":
            stack[-1].append(None if token == "NULL" else token.encode())
    if len(stack) != 1 or len(stack[0]) != 1 or not isinstance(stack[0][0], list):
        raise ValueError("no array")
    found: list[Any] = stack[0][0]
    return found
