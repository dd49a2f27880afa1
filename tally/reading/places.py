"""Where to read: the forms of `-o`, as rpk and kcat have them.

| form | means |
|---|---|
| `beginning` (`start`), `end` | the oldest record that is kept; only what comes from now on |
| `stored` | where a group stands |
| `N`, `+N`, `-N` | offset N; N records after the beginning; N records before the end |
| `N:M` | from offset N to M, M not included |
| `@time`, `@t1:t2` | from the first record at or after the moment; to the second moment, not included |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tally.reading.moments import parse_moment


class Kind(StrEnum):
    """What a place is counted from."""

    BEGINNING = "BEGINNING"
    END = "END"
    STORED = "STORED"
    OFFSET = "OFFSET"
    MOMENT = "MOMENT"


@dataclass(frozen=True, slots=True)
class Place:
    """`value` is a shift for BEGINNING and END, the offset for OFFSET, epoch milliseconds for MOMENT."""

    kind: Kind
    value: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """From where to where; without an `end` the reader stays or stops at the current end, as it is told."""

    start: Place
    end: Place | None = None


WHOLE = Span(Place(Kind.BEGINNING))
_NAMED = {
    "beginning": Place(Kind.BEGINNING),
    "start": Place(Kind.BEGINNING),
    "end": Place(Kind.END),
    "stored": Place(Kind.STORED),
}


def parse_span(text: str, now: datetime) -> Span:
    """What `-o` says. Raises ValueError with a line for people."""
    if text in _NAMED:
        return Span(_NAMED[text])
    if text.startswith("@"):
        return _between_moments(text[1:], now)
    if match := re.fullmatch(r"(\d+):(\d+)", text):
        start, end = int(match[1]), int(match[2])
        if end < start:
            raise ValueError(f"{text!r} ends before it begins")
        return Span(Place(Kind.OFFSET, start), Place(Kind.OFFSET, end))
    if match := re.fullmatch(r"([+-]?)(\d+)", text):
        kind = {"": Kind.OFFSET, "+": Kind.BEGINNING, "-": Kind.END}[match[1]]
        return Span(Place(kind, -int(match[2]) if kind is Kind.END else int(match[2])))
    if text in ("json", "jsonl", "table", "csv"):
        raise ValueError(f"{text!r} is no offset; to choose how to print, write -f {text}")
    raise ValueError(f"{text!r} is no offset: beginning, end, stored, N, +N, -N, N:M, @time or @t1:t2")


def _between_moments(text: str, now: datetime) -> Span:
    try:
        return Span(Place(Kind.MOMENT, parse_moment(text, now)))
    except ValueError:
        pass  # not one moment: look for two
    # Moments hold colons themselves, so each one may be the one that parts them.
    for match in re.finditer(":", text):
        try:
            start = parse_moment(text[: match.start()], now)
            end = parse_moment(text[match.end() :], now)
        except ValueError:
            continue
        if end < start:
            raise ValueError(f"'@{text}' ends before it begins")
        return Span(Place(Kind.MOMENT, start), Place(Kind.MOMENT, end))
    raise ValueError(f"'@{text}' is no moment: RFC 3339, epoch seconds or milliseconds, or a duration back such as 90m")
