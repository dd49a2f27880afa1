"""The verbs that run one of our processes in the foreground: api, worker, connector, sink."""

from __future__ import annotations

import typer

from tally.cli.becoming import become, become_connector
from tally.cli.failures import VerbGroup, WrongUsage

app = typer.Typer(cls=VerbGroup, rich_markup_mode=None)
# The process itself knows its flags and its help.
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=PASSED_ON)
def api(context: typer.Context) -> None:
    """The HTTP API: `python -m producers api …`."""
    become("producers", "api", *context.args)


@app.command(context_settings=PASSED_ON)
def worker(context: typer.Context) -> None:
    """One worker with all agents and tables: `python -m streams …`."""
    become("streams", *context.args)


@app.command(context_settings=PASSED_ON)
def connector(context: typer.Context) -> None:
    """An outbox connector: `tally connector orders`, or alone against any database by `--source-url …`."""
    arguments = context.args
    if not arguments:
        raise WrongUsage("tally connector SERVICE, or tally connector --source-url URL …")
    become_connector(*arguments)


@app.command(context_settings=PASSED_ON)
def sink(context: typer.Context) -> None:
    """Out of topics: `tally sink orders` (commands to a service), `tally sink copies` (tables' rows to Valkey)."""
    arguments = context.args
    if not arguments:
        raise WrongUsage("tally sink SERVICE, or tally sink copies")
    if arguments[0] == "copies":
        become("connectors", *arguments)
    become("connectors", "commands", *arguments)
