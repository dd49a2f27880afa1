"""The verbs that run one of our processes in the foreground: api, worker, connector, sink."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from tally.cli.failures import VerbGroup, WrongUsage

app = typer.Typer(cls=VerbGroup, rich_markup_mode=None)
# The process itself knows its flags and its help.
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=PASSED_ON)
def api(context: typer.Context) -> None:
    """The HTTP API: `python -m producers api …`."""
    _become("producers", "api", *context.args)


@app.command(context_settings=PASSED_ON)
def worker(context: typer.Context) -> None:
    """One worker with all agents and tables: `python -m streams …`."""
    _become("streams", *context.args)


@app.command(context_settings=PASSED_ON)
def connector(context: typer.Context) -> None:
    """An outbox connector: `tally connector orders`, or alone against any database by `--source-url …`."""
    arguments = context.args
    if not arguments:
        raise WrongUsage("tally connector SERVICE, or tally connector --source-url URL …")
    if arguments[0].startswith("-"):
        _become("connectors.alone", *arguments)
    _become("connectors", "outbox", *arguments)


@app.command(context_settings=PASSED_ON)
def sink(context: typer.Context) -> None:
    """Out of topics: `tally sink orders` (commands to a service), `tally sink copies` (tables' rows to Valkey)."""
    arguments = context.args
    if not arguments:
        raise WrongUsage("tally sink SERVICE, or tally sink copies")
    if arguments[0] == "copies":
        _become("connectors", *arguments)
    _become("connectors", "commands", *arguments)


def _become(module: str, *arguments: str) -> NoReturn:
    """Replace this process: signals and exit codes are then the process' own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
