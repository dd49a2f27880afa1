"""The verbs replay plan, run, status, pause and forget: what topics hold once more, beside the live system."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event
from typing import Annotated

import typer

from connectors.stopping import stopped_by_signals_meanwhile
from streams.replay.folding import Folded
from tally.cli import rebuilds
from tally.cli.consume import Offset, printer
from tally.cli.failures import INTERRUPTED, CheckFailed, Failure, NotFound, WrongUsage, group, stop
from tally.cli.kafka import Bootstrap, address, failing_plainly, reading_codec
from tally.cli.printing import Format, chosen, print_document, print_rows
from tally.cli.replay_options import (
    From,
    FromVersion,
    Id,
    Keys,
    Num,
    Partition,
    Rate,
    Reason,
    SideEffects,
    To,
    Topics,
    ToVersion,
    Types,
    Where,
)
from tally.cli.replay_plans import into_of, show_plan
from tally.replaying.asked import Bounds
from tally.replaying.errors import ReplayError, UnknownReplay, WrongReplay
from tally.replaying.planning import Asked, Plan
from tally.replaying.replays import Replays, Work, new_replay_id
from tally.replaying.standing import Standing, State
from tally.replaying.targets import Kind, Shown, parse_into

app = group("Replays: what topics hold once more, onto the screen, into a file or another topic.")
# Two files, one group: what histories fold to, and what is built from them.
app.add_typer(rebuilds.app)

_FAULTS_SHOWN = 20
_COLUMNS = (
    "id",
    "state",
    "done_percent",
    "left",
    "read",
    "written",
    "unreadable",
    "records_per_second",
    "into",
    "note",
)

ReplayId = Annotated[str, typer.Argument(metavar="ID", help="The replay's id.")]


@app.command()
def plan(
    topics: Topics,
    into: Where = "print",
    offset: Offset = "beginning",
    from_: From = None,
    to: To = None,
    keys: Keys = None,
    partition: Partition = None,
    types: Types = None,
    from_version: FromVersion = None,
    to_version: ToVersion = None,
    num: Num = None,
    rate: Rate = None,
    side_effects: SideEffects = None,
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Show what a replay would do: offsets, records by type, what cannot be read, how long. Nothing is written."""
    bounds = Bounds(
        offset, from_, to, _each(keys), partition, _each(types), from_version, to_version, num
    )  # fmt: skip
    with _replays(bootstrap) as replays:
        asked = Asked(tuple(topics), parse_into(into), bounds, rate, "", _each(side_effects))
        show_plan(replays, replays.plan(asked, datetime.now(UTC)), None, form)


@app.command()
def run(
    topics: Annotated[list[str] | None, typer.Argument(metavar="[TOPIC]...", help="What to replay.")] = None,
    into: Where = "print",
    resume: Annotated[str | None, typer.Option("--resume", metavar="ID", help="Go on with a replay.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and fold it in memory.")] = False,
    offset: Offset = "beginning",
    from_: From = None,
    to: To = None,
    keys: Keys = None,
    partition: Partition = None,
    types: Types = None,
    from_version: FromVersion = None,
    to_version: ToVersion = None,
    num: Num = None,
    rate: Rate = None,
    id_: Id = "",
    side_effects: SideEffects = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before writing into a topic.")] = False,
    reason: Reason = "",
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Replay. Ctrl-C pauses; after a pause or a crash --resume ID goes on, into a file or a topic exactly once."""
    bounds = Bounds(
        offset, from_, to, _each(keys), partition, _each(types), from_version, to_version, num
    )  # fmt: skip
    with _replays(bootstrap) as replays:
        asked = Asked(tuple(topics or ()), parse_into(into), bounds, rate, id_, _each(side_effects), reason)
        if resume is not None:
            if asked != Asked((), parse_into("print"), rate=rate, reason=reason):
                raise WrongUsage(
                    "--resume goes on with what was asked at first; only --rate and --reason can be given anew"
                )
            with stopped_by_signals_meanwhile() as stopping:
                standing = replays.resume(resume, rate, _work(stopping, form), reason)
            _finish(standing, form)
            return
        planned = replays.plan(asked, datetime.now(UTC))
        if dry_run:
            show_plan(replays, planned, Folded(), form)
            return
        planned = replace(planned, asked=replace(planned.asked, id=asked.id or new_replay_id()))
        _announce(planned, yes)
        with stopped_by_signals_meanwhile() as stopping:
            standing = replays.start(planned, _work(stopping, form))
        _finish(standing, form)


@app.command()
def status(
    id_: Annotated[str | None, typer.Argument(metavar="[ID]", help="One replay, in full.")] = None,
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """How each replay stands: progress, rate, and how many offsets are left."""
    now_ms = round(time.time() * 1_000)
    with _replays(bootstrap) as replays:
        if id_ is None:
            found = sorted(replays.standings().values(), key=lambda each: each.replay.created_at)
            print_rows([each.shown(now_ms) for each in found], _COLUMNS, form)
        else:
            print_document(replays.standing(id_).in_full(now_ms), form)


@app.command()
def pause(id_: ReplayId, reason: Reason = "", bootstrap: Bootstrap = None, form: Format = None) -> None:
    """Pause a replay that runs somewhere, at the end of its batch."""
    with _replays(bootstrap) as replays:
        print_document(replays.pause(id_, reason).shown(round(time.time() * 1_000)), form)


@app.command()
def forget(id_: ReplayId, reason: Reason = "", bootstrap: Bootstrap = None) -> None:
    """Take a replay that does not run off the list; what it wrote stays."""
    with _replays(bootstrap) as replays:
        replays.forget(id_, reason)


@contextmanager
def _replays(bootstrap: str | None) -> Iterator[Replays]:
    with failing_plainly():
        try:
            with Replays(address(bootstrap), reading_codec()) as replays:
                yield replays
        except WrongReplay as error:
            raise WrongUsage(str(error)) from None
        except UnknownReplay as error:
            raise NotFound(str(error)) from None
        except ReplayError as error:
            raise Failure(str(error)) from None


def _work(stopping: Event, form: str | None) -> Work:
    show = printer(chosen(form), reading_codec())
    return Work(Shown(lambda record, _: show(record), sys.stdout.flush), stopping, _progress())


def _progress() -> Callable[[Standing], None]:
    """Says how far it is, on a terminal; elsewhere `tally replay status` does."""
    if not sys.stderr.isatty():
        return lambda _: None

    def say(standing: Standing) -> None:
        row = standing.shown(standing.at_ms)
        line = f"{row['done_percent']} %, {row['written']} written, {row['left']} offsets left"
        typer.echo(f"\r{line:<60}", err=True, nl=standing.state is not State.RUNNING)

    return say


def _announce(planned: Plan, yes: bool) -> None:
    """Says what is about to happen; asks before a topic is written to."""
    asked, offsets = planned.asked, sum(each.end - each.start for each in planned.ranges)
    typer.echo(
        f"replay {asked.id}: {offsets} offsets of {len(planned.ranges)} partitions into {into_of(planned)};"
        f" side effects: {', '.join(asked.side_effects) or 'none'}",
        err=True,
    )
    if asked.into.kind is not Kind.TOPIC or yes:
        return
    if not sys.stdin.isatty():
        raise WrongUsage("it writes into a topic; say --yes where nobody can be asked")
    if not typer.confirm("Go on?", err=True):
        raise Failure("nothing was done")


def _finish(standing: Standing, form: str | None) -> None:
    """Prints how it ended; 130 for a pause, 5 for records that could not be read."""
    progress, replay = standing.progress, standing.replay
    if parse_into(replay.into).kind is Kind.PRINT:
        typer.echo(f"replay {replay.id}: {standing.state}, {progress.written} of {progress.read} records", err=True)
    else:
        print_document(standing.in_full(standing.at_ms), form)
    for fault in progress.faults[:_FAULTS_SHOWN]:
        typer.echo(f"FAULT {fault}", err=True)
    if standing.state is State.PAUSED:
        raise stop(f"paused; go on with tally replay run --resume {replay.id}", INTERRUPTED)
    if progress.unreadable:
        raise CheckFailed(f"{progress.unreadable} records cannot be read and were not replayed")


def _each(values: list[str] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values or ()))
