"""Questions about the past: `?at=` a moment of recording, or `?version=`; what stood there then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import AwareDatetime

from producers.api.problems import bad_request
from schemas.envelope import Message

VERSION_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Past:
    """A moment (aware UTC) or a version; one of them, never both."""

    at: datetime | None = None
    version: int | None = None

    def __str__(self) -> str:
        return "then" if self.version is None else f"at version {self.version}"

    def holds(self, event: Message) -> bool:
        """Whether the event had happened by then."""
        if self.at is not None:
            return event.envelope.recorded_at <= self.at
        return self.version is None or (event.envelope.version or 0) <= self.version


def past(
    at: Annotated[AwareDatetime | None, Query(description="as it was recorded then, RFC 3339")] = None,
    version: Annotated[int | None, Query(ge=1, le=VERSION_MAX, description="as it was at this version")] = None,
) -> Past | None:
    """What of the past is asked for; None for the present. Raises the problem 400 for both at once."""
    if at is not None and version is not None:
        raise bad_request("at-and-version", "at and version say the same in two ways: give one of them")
    return None if at is None and version is None else Past(None if at is None else at.astimezone(UTC), version)


def stock_after(event: Message) -> dict[str, Any]:
    """A SKU's row after one of its events, each of which states the counts; the same shape as the table `stock`."""
    body = event.body
    return {
        "sku": event.envelope.subject,
        "on_hand": body.on_hand,
        "reserved": body.reserved,
        "available": max(body.on_hand - body.reserved, 0),
        "version": event.envelope.version,
        "event_id": event.envelope.id,
    }


MaybePast = Annotated[Past | None, Depends(past)]
