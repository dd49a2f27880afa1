"""The forms of `-o` and of moments."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tally.reading.moments import parse_moment
from tally.reading.places import Kind, Place, Span, parse_span

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NOON_MS = 1_795_521_600_000
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("beginning", Span(Place(Kind.BEGINNING))),
        ("start", Span(Place(Kind.BEGINNING))),
        ("end", Span(Place(Kind.END))),
        ("stored", Span(Place(Kind.STORED))),
        ("0", Span(Place(Kind.OFFSET, 0))),
        ("42", Span(Place(Kind.OFFSET, 42))),
        ("+5", Span(Place(Kind.BEGINNING, 5))),
        ("-5", Span(Place(Kind.END, -5))),
        ("3:9", Span(Place(Kind.OFFSET, 3), Place(Kind.OFFSET, 9))),
        ("@1h", Span(Place(Kind.MOMENT, NOON_MS - HOUR_MS))),
        ("@-90m", Span(Place(Kind.MOMENT, NOON_MS - 90 * 60_000))),
        ("@1795521600", Span(Place(Kind.MOMENT, NOON_MS))),
        ("@1795521600000", Span(Place(Kind.MOMENT, NOON_MS))),
        ("@2026-11-24", Span(Place(Kind.MOMENT, NOON_MS - 12 * HOUR_MS))),
        ("@2026-11-24T12:00:00Z", Span(Place(Kind.MOMENT, NOON_MS))),
        ("@2026-11-24T13:00:00+01:00", Span(Place(Kind.MOMENT, NOON_MS))),
        ("@2h:1h", Span(Place(Kind.MOMENT, NOON_MS - 2 * HOUR_MS), Place(Kind.MOMENT, NOON_MS - HOUR_MS))),
        (
            "@2026-11-24T10:00:00Z:2026-11-24T11:00:00Z",
            Span(Place(Kind.MOMENT, NOON_MS - 2 * HOUR_MS), Place(Kind.MOMENT, NOON_MS - HOUR_MS)),
        ),
    ],
)
def test_every_form_of_offset_is_understood(text: str, span: Span) -> None:
    assert parse_span(text, NOW) == span


@pytest.mark.parametrize("text", ["", "first", "9:3", "@", "@yesterday", "@1h:2h", "1.5", "--5", "@1h:nothing"])
def test_what_is_no_offset_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_span(text, NOW)


def test_a_format_given_as_offset_gets_the_right_flag_as_answer() -> None:
    with pytest.raises(ValueError, match="-f json"):
        parse_span("json", NOW)


def test_a_moment_without_zone_is_utc() -> None:
    assert parse_moment("2026-11-24T12:00:00", NOW) == NOON_MS
