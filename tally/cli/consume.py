"""The verb consume: shows what topics hold, from anywhere to anywhere, without disturbing anybody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from schemas.codec import Codec
from schemas.errors import DamagedRecord
from schemas.topics import APP_ID, EVENT_TOPICS
from tally.cli.failures import CheckFailed, VerbGroup, WrongUsage
from tally.cli.kafka import Bootstrap, reading, reading_codec
from tally.cli.printing import Format, chosen, csv_line, fill, to_line
from tally.cli.records import COLUMNS, for_table, tokens
from tally.reading.places import parse_span
from tally.reading.reader import Partition, Record
from tally.reading.rows import header, to_row
from tally.reading.wanted import Wanted, records

app = typer.Typer(cls=VerbGroup, rich_markup_mode=None)

Offset = Annotated[
    str,
    typer.Option(
        "--offset",
        "-o",
        help="Where to read: beginning, end, stored, N, +N (after the beginning), -N (before the end), N:M, @time, @t1:t2.",
    ),
]


@app.command(context_settings={"allow_interspersed_args": True})
def consume(
    topics: Annotated[list[str], typer.Argument(metavar="TOPIC...", help="What to read.")],
    offset: Offset = "beginning",
    num: Annotated[int | None, typer.Option("--num", "-n", min=1, help="Stop after so many records.")] = None,
    stop: Annotated[bool, typer.Option("--exit", "-e", help="Stop at the current end.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Stay and show what comes (so it is without -e).")] = False,
    key: Annotated[str | None, typer.Option("--key", "-k", help="This key only; reads its partition only.")] = None,
    partition: Annotated[int | None, typer.Option("--partition", "-p", min=0, help="This partition only.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="This type only, such as ORDER_CREATED.")] = None,
    group: Annotated[str, typer.Option("--group", help="Whose offsets `-o stored` means; it is not joined.")] = APP_ID,
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Show records, decoded; committed ones only. Stays until Ctrl-C unless -e, -n or the offsets say where to stop."""
    if stop and follow:
        raise WrongUsage("--exit and --follow contradict each other")
    try:
        span = parse_span(offset, datetime.now(UTC))
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    wanted = Wanted(tuple(dict.fromkeys(topics)), span, key, partition, group)
    codec = reading_codec()
    show = printer(chosen(form), codec)
    read: Counter[Partition] = Counter()
    shown = damaged = 0
    first: DamagedRecord | None = None
    try:
        with reading(bootstrap) as reader:
            for record in records(reader, wanted, stop, read):
                if type_ is not None and header(record, "ce_type") != type_:
                    continue
                reason = show(record)
                shown += 1
                if reason is not None and record.topic in EVENT_TOPICS:
                    damaged += 1
                    first = first or DamagedRecord(record.topic, record.partition, record.offset, reason)
                if shown == num:
                    break
    finally:
        if key is not None and read:
            # A key has no index in Kafka: what its few records cost is worth knowing.
            typer.echo(_cost(read, shown), err=True)
    if first is not None:
        raise CheckFailed(f"{first}" if damaged == 1 else f"{damaged} events cannot be read; the first: {first}")


def _cost(read: Counter[Partition], shown: int) -> str:
    places = ", ".join(f"{count} records of {topic}/{number}" for (topic, number), count in sorted(read.items()))
    return f"read {places} to show {shown}"


def printer(kind: str, codec: Codec) -> Callable[[Record], str | None]:
    """A function that prints one record in a format, at once: whoever follows sees it when it comes.

    It gives the reason why the record cannot be decoded; None for one that can.
    """
    if kind == "table":
        console = Console(highlight=False, markup=False, soft_wrap=True)
        return lambda record: _print_person(console, record, codec)
    if kind == "csv":
        typer.echo(csv_line(COLUMNS), nl=False)

    def show(record: Record) -> str | None:
        row = to_row(record, codec)
        match kind:
            case "json" | "jsonl":
                # One array cannot be printed of what has no end: a document a line, as kcat's -J does.
                typer.echo(to_line(row))
            case "csv":
                flat = for_table(row)
                typer.echo(csv_line([flat.get(column) for column in COLUMNS]), nl=False)
            case template:
                typer.echo(fill(template, tokens(record, row)), nl=False)
        return row.get("undecodable")

    return show


def _print_person(console: Console, record: Record, codec: Codec) -> str | None:
    row = for_table(to_row(record, codec))
    where = f"{row['topic']}/{row['partition']}/{row['offset']}"
    version = "" if row["version"] is None else f"@{row['version']}"
    console.print(f"{row['timestamp']}  {where:<26} {row['key'] or '-'}{version}  {row['type'] or '-'}  {row['data']}")
    return row.get("undecodable")
