"""Moments as people type them: RFC 3339, a date, epoch seconds or milliseconds, or a duration back from now."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_DURATION = re.compile(r"-?(?:\d+(?:ms|s|m|h|d|w))+")
_PART = re.compile(r"(\d+)(ms|s|m|h|d|w)")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
# Epoch numbers from here on are milliseconds: as seconds they would lie after the year 5000.
_MILLISECONDS_FROM = 100_000_000_000


def parse_moment(text: str, now: datetime) -> int:
    """Epoch milliseconds; a moment without a time zone is UTC. Raises ValueError."""
    text = text.strip()
    if re.fullmatch(r"\d+", text):
        number = int(text)
        return number if number >= _MILLISECONDS_FROM else number * 1_000
    if _DURATION.fullmatch(text):
        back_ms = sum(int(count) * _UNIT_MS[unit] for count, unit in _PART.findall(text))
        return round(now.timestamp() * 1_000) - back_ms
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000)
