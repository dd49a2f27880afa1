"""The options of verbs that look into the past: `--at` a moment of recording, or `--version`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import typer

from schemas.envelope import to_rfc3339
from tally.cli.failures import WrongUsage
from tally.reading.moments import parse_moment

At = Annotated[
    str | None, typer.Option("--at", help="As it was recorded then: RFC 3339, epoch, or a duration back such as 90m.")
]
Version = Annotated[int | None, typer.Option("--version", min=1, help="As it was at this version.")]


def past(at: str | None, version: int | None) -> str:
    """The query of a path that asks for the past; empty for the present. Raises WrongUsage."""
    if at is not None and version is not None:
        raise WrongUsage("--at and --version say the same in two ways: give one of them")
    if version is not None:
        return f"?version={version}"
    if at is None:
        return ""
    try:
        moment = datetime.fromtimestamp(parse_moment(at, datetime.now(UTC)) / 1_000, UTC)
    except (ValueError, OverflowError, OSError):
        raise WrongUsage(f"--at {at}: no moment: RFC 3339, epoch, or a duration back such as 90m") from None
    return f"?at={quote(to_rfc3339(moment))}"
