"""Outbox tables of polling connectors, for the verbs that look at what is not published: the table itself says it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import psycopg
import typer

from connectors.outbox.config import TableName, parse_table, quoted_table
from connectors.outbox.errors import BadOption, first_line
from connectors.outbox.polling.asking import AskedTable
from connectors.outbox.polling.options import Polling
from connectors.outbox.waiting.entries import Entry, Request
from tally.cli.failures import NotFound, OutOfReach, WrongUsage

POLLED_COLUMNS = ("table", "id", "aggregate", "status", "number", "reason")
_ANSWER_WITHIN_S = 10
_TABLE = "public.outbox"
_OURS = Polling()

SourceUrl = Annotated[
    str | None, typer.Option("--source-url", help="PostgreSQL URL of a polling connector, whose tables are asked.")
]
TableNames = Annotated[
    list[str] | None, typer.Option("--table", help=f"A polled table; again for more (default {_TABLE}).")
]
OrderColumn = Annotated[str | None, typer.Option("--order-column", help=f"Default {_OURS.order_column}.")]
StatusColumn = Annotated[str | None, typer.Option("--status-column", help=f"Default {_OURS.status_column}.")]


class Polled:
    """The tables of one polling connector. Its methods raise OutOfReach, NotFound."""

    def __init__(self, url: str, tables: Sequence[str] | None, order: str | None, status: str | None) -> None:
        """Raises WrongUsage."""
        self._url = url
        try:
            self._tables = [parse_table(table) for table in tables or [_TABLE]]
            self._polling = Polling(order or _OURS.order_column, status or _OURS.status_column)
        except BadOption as error:
            raise WrongUsage(str(error)) from None

    def status(self) -> list[dict[str, Any]]:
        """What is not published, table by table, in order."""
        with self._asked() as tables:
            return [_row(name, entry) for name, table in tables for entry in table.unpublished()]

    def redriven(self, request: Request, within_s: float) -> list[dict[str, Any]]:
        """Has rows tried again by whoever polls; gives what is left of them."""
        with self._asked() as tables:
            found = [(name, table.redrive(request, within_s)) for name, table in tables]
        if all(left is None for _, left in found):
            raise NotFound("no such row is failed or waiting")
        return [_row(name, entry) for name, left in found for entry in left or ()]

    @contextmanager
    def _asked(self) -> Iterator[list[tuple[TableName, AskedTable]]]:
        try:
            with psycopg.connect(self._url, autocommit=True, connect_timeout=_ANSWER_WITHIN_S) as connection:
                yield [(name, AskedTable(connection, name, self._polling)) for name in self._tables]
        except TimeoutError:
            raise OutOfReach("nobody took the rows in time; a polling connector will when it runs again") from None
        except psycopg.OperationalError as error:
            raise OutOfReach(first_line(error)) from None
        except psycopg.ProgrammingError as error:
            raise NotFound(first_line(error)) from None


def _row(name: TableName, entry: Entry) -> dict[str, Any]:
    return {
        "table": quoted_table(*name),
        "id": entry.row_id,
        "aggregate": str(entry.aggregate),
        "status": entry.state.value,
        "number": entry.place[0],
        "reason": entry.reason,
    }
