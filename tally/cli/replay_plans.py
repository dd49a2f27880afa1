"""How the plan of a replay is shown: offsets, records by type, what cannot be read, how long it takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import typer

from schemas.envelope import Message
from streams.replay.folding import Folded, fold
from tally.cli.failures import CheckFailed
from tally.cli.printing import chosen, print_document, print_rows
from tally.replaying.planning import Counted, Plan
from tally.replaying.replays import Replays

_TABLES = ("orders", "orders_by_customer", "stock", "stock_levels", "holds", "order_sagas")
_FAULTS_SHOWN = 20


def show_plan(replays: Replays, planned: Plan, folded: Folded | None, form: str | None) -> None:
    """Counts, and folds what is meant where a fold is given. Raises CheckFailed for what does not read or fold."""

    def take(topic: str, message: Message) -> None:
        if folded is not None:
            fold(folded, topic, message)

    began = time.monotonic()
    counted = replays.count(planned, take, _counting())
    seconds = time.monotonic() - began
    document = _document(planned, counted, seconds)
    faults_total = 0
    if folded is not None:
        document["rows"] = {name: len(table) for name in _TABLES if (table := getattr(folded, name))}
        document["faults"] = [*document["faults"], *folded.faults][:_FAULTS_SHOWN]
        faults_total = folded.faults_total
    if chosen(form) == "table":
        _print_plan(document)
    else:
        print_document(document, form)
    if counted.unreadable or faults_total:
        raise CheckFailed(f"{counted.unreadable} records cannot be read, {faults_total} do not fold")


def _document(planned: Plan, counted: Counted, seconds: float) -> dict[str, Any]:
    rate = planned.asked.rate
    return {
        "into": into_of(planned),
        "side_effects": list(planned.asked.side_effects),
        "ranges": [
            {"topic": each.topic, "partition": each.partition, "start": each.start, "end": each.end}
            for each in planned.ranges
        ],
        "counts": [
            {"topic": topic, "type": type_, "count": count} for (topic, type_), count in sorted(counted.counts.items())
        ],
        "read": counted.read,
        "meant": counted.meant,
        "unreadable": counted.unreadable,
        "seconds": round(max(seconds, counted.meant / rate if rate else 0.0), 1),
        "faults": counted.faults[:_FAULTS_SHOWN],
    }


def _print_plan(document: dict[str, Any]) -> None:
    print_rows(document["ranges"], ("topic", "partition", "start", "end"), "table")
    typer.echo()
    print_rows(document["counts"], ("topic", "type", "count"), "table")
    typer.echo()
    if "rows" in document:
        print_rows(
            [{"table": name, "rows": count} for name, count in document["rows"].items()], ("table", "rows"), "table"
        )
        typer.echo()
    typer.echo(
        f"{document['meant']} of {document['read']} records into {document['into']}, about {document['seconds']} s"
    )
    typer.echo(f"side effects: {', '.join(document['side_effects']) or 'none'}")
    for fault in document["faults"]:
        typer.echo(f"FAULT {fault}")


def into_of(planned: Plan) -> str:
    """The target as typed, and that it is to be made."""
    if planned.makes_partitions is None:
        return str(planned.asked.into)
    return f"{planned.asked.into}, to be made with {planned.makes_partitions} partitions, kept for ever"


def _counting() -> Callable[[Counted], None]:
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda counted: typer.echo(f"\r{counted.read} records read", err=True, nl=False)
