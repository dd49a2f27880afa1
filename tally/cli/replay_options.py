"""The options of `tally replay plan` and `run`: which part of which topics, and where it goes."""

from __future__ import annotations

from typing import Annotated

import typer

Topics = Annotated[list[str], typer.Argument(metavar="TOPIC...", help="What to replay: topics that hold messages.")]
From = Annotated[
    str | None, typer.Option("--from", help="Recorded from this moment on: RFC 3339, epoch, or a duration back.")
]
To = Annotated[str | None, typer.Option("--to", help="Recorded before this moment.")]
Keys = Annotated[
    list[str] | None,
    typer.Option("--key", "-k", help="This key only; several by repeating. Reads their partitions only."),
]
Partition = Annotated[int | None, typer.Option("--partition", "-p", min=0, help="This partition only.")]
Types = Annotated[list[str] | None, typer.Option("--type", help="This type only; several by repeating.")]
FromVersion = Annotated[int | None, typer.Option("--from-version", help="Of each aggregate from this version on.")]
ToVersion = Annotated[int | None, typer.Option("--to-version", help="Of each aggregate up to this version, included.")]
Num = Annotated[int | None, typer.Option("--num", "-n", help="At most so many records.")]
INTO = "print, topic:NAME, or file:PATH (an Avro container where PATH ends in .avro, else JSON lines)."
Where = Annotated[str, typer.Option("--into", help=INTO)]
Rate = Annotated[float | None, typer.Option("--rate", help="Records a second, at most.")]
Id = Annotated[str, typer.Option("--id", help="What to call it; drawn where none is given.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]
SideEffects = Annotated[
    list[str] | None,
    typer.Option("--side-effects", help="Name the topic of the live system that it may go into and act there."),
]
