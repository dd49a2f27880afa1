"""Verbs that look into the past: `--at` a moment of recording, or `--version`; what changed `--from` one `--to` another."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from schemas.envelope import to_rfc3339
from schemas.keys import SEPARATOR
from tally.cli.failures import WrongUsage
from tally.cli.http_api import calling
from tally.cli.printing import chosen, print_document, print_rows
from tally.reading.moments import parse_moment

At = Annotated[
    str | None, typer.Option("--at", help="As it was recorded then: RFC 3339, epoch, or a duration back such as 90m.")
]
Version = Annotated[int | None, typer.Option("--version", min=1, help="As it was at this version.")]
Since = Annotated[str, typer.Option("--from", help="The earlier moment: RFC 3339, epoch, or a duration back.")]
Until = Annotated[str | None, typer.Option("--to", help="The later one; now where it is not given.")]


def past(at: str | None, version: int | None) -> str:
    """The query of a path that asks for the past; empty for the present. Raises WrongUsage."""
    if at is not None and version is not None:
        raise WrongUsage("--at and --version say the same in two ways: give one of them")
    if version is not None:
        return f"?version={version}"
    if at is None:
        return ""
    return f"?at={_moment('--at', at, datetime.now(UTC))}"


def show_diff(path: str, since: str, to: str | None, api: str | None, form: str | None) -> None:
    """Prints what changed of the thing at `path` between two moments. Raises WrongUsage and failures of the API."""
    now = datetime.now(UTC)
    until = "" if to is None else f"&to={_moment('--to', to, now)}"
    with calling(api) as client:
        diff = client.get(f"{path}?from={_moment('--from', since, now)}{until}")
    if chosen(form) != "table":
        print_document(diff, form)
        return
    typer.echo(f"{diff['key'].replace(SEPARATOR, '/')}: {_end(diff['from'])} -> {_end(diff['to'])}")
    if diff["changes"]:
        print_rows(diff["changes"], ("field", "before", "after"), form)
    else:
        typer.echo("nothing changed")


def _end(told: dict[str, Any]) -> str:
    return f"version {told['version']} at {told['at']}" if told["version"] else f"not there at {told['at']}"


def _moment(option: str, text: str, now: datetime) -> str:
    """A moment as a path's query has it."""
    try:
        moment = datetime.fromtimestamp(parse_moment(text, now) / 1_000, UTC)
    except (ValueError, OverflowError, OSError):
        raise WrongUsage(f"{option} {text}: no moment: RFC 3339, epoch, or a duration back such as 90m") from None
    return quote(to_rfc3339(moment))
