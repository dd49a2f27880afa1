"""The verb config show: what is used, and where it comes from."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tally.cli.failures import WrongUsage, group
from tally.settings import PREFIX, Settings, Values

app = group("Settings: what is used, and where it comes from.")


@app.command()
def show(
    output: Annotated[str, typer.Option("--format", "-f", help="table or json")] = "table",
) -> None:
    """Each setting with its value and where that came from; passwords are hidden."""
    settings = Settings()
    rows = [(PREFIX + name.upper(), settings.shown(name), settings.origin(name)) for name in Values.model_fields]
    if output == "json":
        document = {name: {"value": value or None, "origin": origin} for name, value, origin in rows}
        typer.echo(json.dumps(document, indent=2))
        return
    if output != "table":
        raise WrongUsage("--format is table or json")
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    # Off a terminal a value must not be cut or folded to 80 columns: somebody greps it.
    console = Console()
    Console(width=console.width if console.is_terminal else 400).print(table)
