"""The verbs of tables: list, get, scan; rows come from the workers that own them."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from schemas.keys import SEPARATOR
from schemas.topics import TABLES, changelog
from tally.cli.failures import NotFound, group
from tally.cli.kafka import Bootstrap, address, failing_plainly
from tally.cli.printing import Format, print_document, print_rows
from tally.reading import workers

app = group("Tables: the rows that agents keep, as their owners answer.")

_SCANNED = 100
# A compound key's parts, as people type them and as the table has them; how many follow the first.
_TYPED = "/"
_FURTHER_PARTS = {"holds": 2, "orders_by_customer": 1}
_COLUMNS = ("key", "value", "partition", "changelog_offset", "worker", "age_ms")

Table = Annotated[str, typer.Argument(help="Its name: tally tables list.")]


@app.command("list")
def list_(form: Format = None) -> None:
    """Every table with its changelog."""
    print_rows(
        [{"table": name, "changelog": changelog(name)} for name in TABLES],
        ("table", "changelog"),
        form,
    )


@app.command()
def get(
    table: Table,
    key: Annotated[str, typer.Argument(help="Its key; parts of a compound one with / between.")],
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """One row, with who answered and how old it is."""
    with failing_plainly():
        row = workers.get(workers.find(address(bootstrap)), _known(table), _compound(table, key))
    if row is None:
        raise NotFound(f"{table} has no row {key}")
    print_document(row, form)


@app.command()
def scan(
    table: Table,
    prefix: Annotated[str, typer.Option(help="Keys that begin so; parts with / between.")] = "",
    num: Annotated[int, typer.Option("--num", "-n", min=1, help="At most so many.")] = _SCANNED,
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Rows of a table."""
    with failing_plainly():
        rows = workers.scan(workers.find(address(bootstrap)), _known(table), _compound(table, prefix))
        print_rows(list(islice(rows, num)), _COLUMNS, form)


def _known(table: str) -> str:
    if table not in TABLES:
        raise NotFound(f"there is no table {table}; there are {', '.join(TABLES)}")
    return table


def _compound(table: str, typed: str) -> str:
    """The key that a person typed; the last slashes part it, so that a customer's id may hold some itself."""
    parts = typed.rsplit(_TYPED, _FURTHER_PARTS.get(table, 0)) if table in _FURTHER_PARTS else [typed]
    return SEPARATOR.join(parts)
