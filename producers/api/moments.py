"""Questions about the past: `?at=` a moment of recording, or `?version=`; `?from=&to=` what changed between two moments.

What is answered is what stood then by recorded_at. A moment that is still to come has no answer yet, and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, Query
from fastapi_problem.error import Problem
from pydantic import AwareDatetime

from producers.api.problems import bad_request
from schemas.envelope import Message, now, to_rfc3339

VERSION_MAX = (1 << 63) - 1
# The clock of whoever asks for "now" may go ahead of ours by so much.
CLOCKS_APART_MAX = timedelta(seconds=5)
# Nothing was recorded before it; moments at the edge of the calendar could not be told in UTC.
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Past:
    """A moment (aware UTC) or a version; one of them, never both."""

    at: datetime | None = None
    version: int | None = None

    def __str__(self) -> str:
        if self.at is None:
            return f"at version {self.version}"
        return f"at {to_rfc3339(self.at)}"

    def holds(self, event: Message) -> bool:
        """Whether the event had happened by then."""
        if self.at is not None:
            return event.envelope.recorded_at <= self.at
        return self.version is None or (event.envelope.version or 0) <= self.version

    def is_reached_by(self, version: int) -> bool:
        """Whether a row at `version` answers: one that was not reached yet is no past, and no older one stands for it."""
        return version > 0 and (self.version is None or version >= self.version)


@dataclass(frozen=True, slots=True)
class Between:
    """Two moments, the earlier first."""

    earlier: Past
    later: Past


def past(
    at: Annotated[AwareDatetime | None, Query(description="as it was recorded then, RFC 3339")] = None,
    version: Annotated[int | None, Query(ge=1, le=VERSION_MAX, description="as it was at this version")] = None,
) -> Past | None:
    """What of the past is asked for; None for the present. Raises the problem 400 for both, and for the future."""
    if at is not None and version is not None:
        raise bad_request("at-and-version", "at and version say the same in two ways: give one of them")
    return None if at is None and version is None else Past(None if at is None else _gone_by("at", at), version)


def between(
    past: Annotated[Past | None, Depends(past)],
    from_: Annotated[
        AwareDatetime | None, Query(alias="from", description="what changed after this moment, RFC 3339")
    ] = None,
    to: Annotated[AwareDatetime | None, Query(description="until this one; now where only `from` is given")] = None,
) -> Between | None:
    """The two moments that are asked about; None for no such question. Raises the problem 400."""
    if from_ is None and to is None:
        return None
    if past is not None:
        raise bad_request("at-and-from", "at and version show one state, from and to what changed between two: ask one")
    if from_ is None:
        raise bad_request("from-missing", "to without from: from which moment on?")
    earlier, later = _gone_by("from", from_), now() if to is None else _gone_by("to", to)
    if later < earlier:
        raise bad_request("from-behind-to", "from lies behind to")
    return Between(Past(at=earlier), Past(at=later))


def _gone_by(name: str, moment: datetime) -> datetime:
    if moment > now() + CLOCKS_APART_MAX:
        raise future(name)
    return max(moment, _EPOCH).astimezone(UTC)


def future(name: str) -> Problem:
    """The problem 400 for a moment that is still to come."""
    return bad_request("in-the-future", f"{name} lies in the future: what will be recorded until then is not known")


MaybePast = Annotated[Past | None, Depends(past)]
MaybeBetween = Annotated[Between | None, Depends(between)]
