"""The verbs about the command line itself: config show, version, completion."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version as version_of
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from typer._completion_shared import get_completion_script

from tally.cli.failures import VerbGroup, WrongUsage, group
from tally.local.jars import Lock
from tally.settings import PREFIX, Settings, Values

SHELLS = ("bash", "zsh", "fish")

app = typer.Typer(cls=VerbGroup, rich_markup_mode=None)
config = group("Settings: what is used, and where it comes from.")


@config.command("show")
def config_show(
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


@app.command()
def version() -> None:
    """The versions of Tally and of what it is made of."""
    typer.echo(f"tally {version_of('tally')}")
    typer.echo(f"faust-rdkafka {version_of('faust-rdkafka')}")
    typer.echo(f"local Kafka {Lock.read().version}")


@app.command()
def completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish")] = "bash") -> None:
    """Print the completion script of a shell: `eval "$(tally completion bash)"`."""
    if shell not in SHELLS:
        raise WrongUsage(f"no completion for {shell}; there is one for {', '.join(SHELLS)}")
    name = "tally"
    typer.echo(get_completion_script(prog_name=name, complete_var="_TALLY_COMPLETE", shell=shell))
    if shutil.which(name) is None:
        typer.echo(f"note: {name} is not on the PATH of this shell", err=True)
