"""How rows are printed: a table for people, json, jsonl and csv for scripts, or a template."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from schemas.keys import SEPARATOR
from tally.cli.failures import WrongUsage

FORMATS = ("table", "json", "jsonl", "csv")
Row = Mapping[str, Any]

Format = Annotated[
    str | None,
    typer.Option("--format", "-f", help="table, json, jsonl, csv, or a template such as '%{order_id} %{status}\\n'"),
]


def print_rows(rows: Iterable[Row], columns: Sequence[str], form: str | None) -> None:
    """Prints rows to stdout; a table on a terminal and jsonl elsewhere, unless `form` says otherwise."""
    match chosen(form):
        case "table":
            _print_table(rows, columns)
        case "json":
            typer.echo(json.dumps([dict(row) for row in rows], indent=2, ensure_ascii=False))
        case "jsonl":
            for row in rows:
                typer.echo(to_line(row))
        case "csv":
            typer.echo(csv_line(columns), nl=False)
            for row in rows:
                typer.echo(csv_line([_cell(row.get(column)) for column in columns]), nl=False)
        case template:
            for row in rows:
                typer.echo(fill(template, row_tokens(row)), nl=False)


def print_document(document: Row, form: str | None) -> None:
    """Prints one object: name and value by line for people, else one JSON document."""
    kind = chosen(form)
    if kind == "table":
        width = max((len(name) for name in document), default=0)
        for name, value in document.items():
            typer.echo(f"{name:<{width}}  {_cell(value)}")
    elif kind == "json":
        typer.echo(json.dumps(dict(document), indent=2, ensure_ascii=False))
    else:
        print_rows([document], list(document), kind)


def chosen(form: str | None) -> str:
    """The format to use. Raises WrongUsage for a word that is neither a format nor a template."""
    if form is None:
        return "table" if sys.stdout.isatty() else "jsonl"
    if form not in FORMATS and "%" not in form:
        raise WrongUsage(f"-f {form}: one of {', '.join(FORMATS)}, or a template with %")
    return form


def to_line(row: Row) -> str:
    """A row as one line of JSON."""
    return json.dumps(dict(row), ensure_ascii=False, separators=(",", ":"))


def csv_line(cells: Sequence[Any]) -> str:
    """Cells as one line of CSV, its line end included."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def fill(template: str, token: Callable[[str], str]) -> str:
    """A template with its tokens (`%t`, `%{name}`) and escapes (`\\n`, `\\t`, `%%`) filled in. Raises WrongUsage."""

    def one(match: re.Match[str]) -> str:
        escape, name = match[1], match[2] or match[3]
        if escape:
            return {"n": "\n", "t": "\t", "\\": "\\"}[escape]
        return "%" if name == "%" else token(name)

    return re.sub(r"\\([nt\\])|%(?:\{(\w+)\}|(.))", one, template)


def row_tokens(row: Row) -> Callable[[str], str]:
    """Tokens of a row: `%{column}`."""

    def token(name: str) -> str:
        if name not in row:
            raise WrongUsage(f"no %{{{name}}} here; there are {', '.join(row)}")
        return _cell(row[name])

    return token


def _print_table(rows: Iterable[Row], columns: Sequence[str]) -> None:
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console = Console()
    # Off a terminal nothing is cut or folded to 80 columns: somebody greps it.
    (console if console.is_terminal else Console(width=10_000)).print(table, markup=False, highlight=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace(SEPARATOR, "/")
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, bool)) else str(value)
