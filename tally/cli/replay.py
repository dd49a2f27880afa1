"""The verb replay run --dry-run: counts what a bounded range of topics holds and folds it, changing nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from schemas.envelope import Message
from schemas.errors import Undecodable
from schemas.records import decode_record
from streams.replay.folding import Folded, replay
from tally.cli.consume import Offset, Wanted, records
from tally.cli.failures import CheckFailed, WrongUsage, group
from tally.cli.kafka import Bootstrap, reading, reading_codec
from tally.cli.printing import Format, chosen, print_document, print_rows
from tally.reading.moments import parse_moment
from tally.reading.places import Kind, Place, Span, parse_span
from tally.reading.reader import Reader

app = group("Replay: what histories fold to.")

_TABLES = ("orders", "orders_by_customer", "stock", "stock_levels", "holds", "order_sagas")
_FAULTS_SHOWN = 20


@app.callback()
def replaying() -> None:
    """Replay: what histories fold to."""


@app.command()
def run(
    topics: Annotated[list[str], typer.Argument(metavar="TOPIC...", help="Event topics.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count and fold in memory only.")] = False,
    offset: Offset = "beginning",
    from_: Annotated[str | None, typer.Option("--from", help="From this moment on.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Up to this moment, not included.")] = None,
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Count by type what a range of topics holds, and fold it with the agents' own code."""
    if not dry_run:
        raise WrongUsage("only --dry-run is there: nothing of the live system is changed by a replay")
    wanted = Wanted(tuple(dict.fromkeys(topics)), _span(offset, from_, to))
    unreadable: list[str] = []
    with reading(bootstrap) as reader:
        folded = replay(_messages(reader, wanted, unreadable))
    _print(folded, unreadable, form)
    if unreadable or folded.faults_total:
        raise CheckFailed(f"{len(unreadable)} records cannot be read, {folded.faults_total} do not fold")


def _span(offset: str, from_: str | None, to: str | None) -> Span:
    now = datetime.now(UTC)
    try:
        span = parse_span(offset, now)
        if from_ is not None or to is not None:
            if offset != "beginning":
                raise WrongUsage("--offset and --from/--to contradict each other")
            start = span.start if from_ is None else Place(Kind.MOMENT, parse_moment(from_, now))
            span = Span(start, None if to is None else Place(Kind.MOMENT, parse_moment(to, now)))
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    return span


def _messages(reader: Reader, wanted: Wanted, unreadable: list[str]) -> Iterator[tuple[str, Message]]:
    codec = reading_codec()
    for record in records(reader, wanted, stop=True):
        try:
            yield record.topic, decode_record(record.headers, record.value, codec)
        except Undecodable as error:
            unreadable.append(f"{record.topic}/{record.partition}/{record.offset}: {error.reason}")


def _print(folded: Folded, unreadable: list[str], form: str | None) -> None:
    counts = [
        {"topic": topic, "type": type_, "count": count} for (topic, type_), count in sorted(folded.counts.items())
    ]
    rows = {name: len(table) for name in _TABLES if (table := getattr(folded, name))}
    faults = [*unreadable, *folded.faults][:_FAULTS_SHOWN]
    document: dict[str, Any] = {"counts": counts, "rows": rows, "faults": faults}
    if chosen(form) != "table":
        print_document(document, form)
        return
    print_rows(counts, ("topic", "type", "count"), form)
    typer.echo()
    print_rows([{"table": name, "rows": count} for name, count in rows.items()], ("table", "rows"), form)
    for fault in faults:
        typer.echo(f"FAULT {fault}")
