"""The verbs of the outbox: what Kafka refused and what waits behind it, trying it again, and sending rows once more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException

from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import OutboxError
from connectors.outbox.waiting.asking import ask, until_answered
from connectors.outbox.waiting.entries import Entry, Request
from connectors.outbox.waiting.topic import Read, read_waiting
from tally.cli.connectors_named import Connector, connectors
from tally.cli.failures import CheckFailed, NotFound, OutOfReach, WrongUsage, group
from tally.cli.kafka import Bootstrap
from tally.cli.polled import POLLED_COLUMNS, OrderColumn, Polled, SourceUrl, StatusColumn, TableNames
from tally.cli.printing import Format, print_rows
from tally.cli.republish import republish

app = group("Outbox rows: what is not published and why, trying it again, and publishing rows once more.")

_COLUMNS = ("connector", "id", "aggregate", "status", "position", "reason")
_ANSWER_WITHIN_S = 60.0

app.command()(republish)


@app.command()
def status(
    connector: Connector = None,
    source_url: SourceUrl = None,
    table: TableNames = None,
    order_column: OrderColumn = None,
    status_column: StatusColumn = None,
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Rows that failed, and the rows of their aggregates that wait behind them, in order."""
    if source_url is not None:
        polled = Polled(source_url, table, order_column, status_column)
        print_rows(polled.status(), POLLED_COLUMNS, form)
        return
    print_rows(
        (row(config, entry) for config in connectors(connector, bootstrap) for entry in entries(config)), _COLUMNS, form
    )


@app.command()
def redrive(
    row_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A failed row's id.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="All of one aggregate: its id, or type/id.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Everything that is not published.")] = False,
    connector: Connector = None,
    source_url: SourceUrl = None,
    table: TableNames = None,
    order_column: OrderColumn = None,
    status_column: StatusColumn = None,
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Tries failed rows again, in order with those behind them; the running connector does it. Prints what is left."""
    if (row_id is not None) + (key is not None) + every != 1:
        raise WrongUsage("tally outbox redrive ID, --key AGGREGATE or --all")
    request = Request(row_id, key)
    if source_url is not None:
        left = Polled(source_url, table, order_column, status_column).redriven(request, _ANSWER_WITHIN_S)
        _say_left(left, POLLED_COLUMNS, form)
        return
    redriven(connectors(connector, bootstrap), request, form)


def redriven(configs: Iterable[OutboxConfig], request: Request, form: str | None) -> None:
    """Asks every connector that has such rows. Raises NotFound, OutOfReach, and CheckFailed for rows refused again."""
    left: list[dict[str, Any]] = []
    asked = False
    for config in configs:
        aggregates = {entry.aggregate for entry in entries(config) if request.wants(entry)}
        if not aggregates:
            continue
        asked = True
        found = _answer(config, request)
        left += [row(config, entry) for entry in found.entries.values() if entry.aggregate in aggregates]
    if not asked:
        raise NotFound("no such row is failed or waiting")
    _say_left(left, _COLUMNS, form)


def _say_left(left: Sequence[dict[str, Any]], columns: Sequence[str], form: str | None) -> None:
    if left:
        print_rows(left, columns, form)
        raise CheckFailed(f"{len(left)} rows are still not published")


def entries(config: OutboxConfig) -> list[Entry]:
    """What is not published, in the order of the log. Raises OutOfReach."""
    try:
        return sorted(read_waiting(config).entries.values(), key=lambda entry: entry.place)
    except (OutboxError, KafkaException) as error:
        raise OutOfReach(str(error)) from None


def row(config: OutboxConfig, entry: Entry) -> dict[str, Any]:
    """One line of the list."""
    position, index = entry.place
    return {
        "connector": config.name,
        "id": entry.row_id,
        "aggregate": str(entry.aggregate),
        "status": entry.state.value,
        "position": f"{position >> 32:X}/{position & 0xFFFFFFFF:X}+{index}",
        "reason": entry.reason,
    }


def _answer(config: OutboxConfig, request: Request) -> Read:
    try:
        found = until_answered(config, ask(config, request), _ANSWER_WITHIN_S)
    except (OutboxError, KafkaException) as error:
        raise OutOfReach(str(error)) from None
    if found is None:
        raise OutOfReach(
            f"connector {config.name} gave no answer in {_ANSWER_WITHIN_S:.0f} s; it will when it runs again"
        )
    return found
