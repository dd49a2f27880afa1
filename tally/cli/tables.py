"""The verbs of tables: list, get, scan, diff; rows come from the workers that own them, those of the past from the API."""

from __future__ import annotations

from itertools import islice
from typing import Annotated
from urllib.parse import quote

import typer

from schemas.keys import SEPARATOR
from schemas.topics import TABLES, changelog
from tally.cli.failures import NotFound, group
from tally.cli.http_api import ApiUrl, calling
from tally.cli.kafka import Bootstrap, address, failing_plainly
from tally.cli.moments import At, Since, Until, Version, past, show_diff
from tally.cli.printing import Format, print_document, print_rows
from tally.reading import workers

app = group("Tables: the rows that agents keep, as their owners answer.")

_SCANNED = 100
# A compound key's parts, as people type them and as the table has them; how many follow the first.
_TYPED = "/"
_FURTHER_PARTS = {"holds": 2, "orders_by_customer": 1}
_COLUMNS = ("key", "value", "partition", "changelog_offset", "worker", "age_ms")

Table = Annotated[str, typer.Argument(help="Its name: tally tables list.")]
Key = Annotated[str, typer.Argument(help="Its key; parts of a compound one with / between.")]


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
    key: Key,
    at: At = None,
    version: Version = None,
    bootstrap: Bootstrap = None,
    api: ApiUrl = None,
    form: Format = None,
) -> None:
    """One row, with who answered and how old it is; or as it was, folded from its history."""
    if then := past(at, version):
        with calling(api) as client:
            print_document(client.get(f"{_path(table, key)}{then}"), form)
        return
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


@app.command()
def diff(
    table: Table,
    key: Key,
    since: Since,
    to: Until = None,
    api: ApiUrl = None,
    form: Format = None,
) -> None:
    """What changed of one row between two moments."""
    show_diff(_path(table, key), since, to, api, form)


def _path(table: str, key: str) -> str:
    return f"/tables/{_known(table)}/{quote(_compound(table, key), safe='')}"


def _known(table: str) -> str:
    if table not in TABLES:
        raise NotFound(f"there is no table {table}; there are {', '.join(TABLES)}")
    return table


def _compound(table: str, typed: str) -> str:
    """The key that a person typed; the last slashes part it, so that a customer's id may hold some itself."""
    parts = typed.rsplit(_TYPED, _FURTHER_PARTS.get(table, 0)) if table in _FURTHER_PARTS else [typed]
    return SEPARATOR.join(parts)
