"""The verbs about the command line itself: version, completion."""

from __future__ import annotations

import shutil
from importlib.metadata import version as version_of
from typing import Annotated

import typer
from typer._completion_shared import get_completion_script

from tally.cli.failures import VerbGroup, WrongUsage
from tally.local.jars import Lock

SHELLS = ("bash", "zsh", "fish")

app = typer.Typer(cls=VerbGroup, rich_markup_mode=None)


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
