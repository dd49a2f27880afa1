"""The verb doctor: asks the running system whether all is as it must be."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tally.audit.report import Report
from tally.cli.failures import CheckFailed, VerbGroup, WrongUsage
from tally.doctor import examine
from tally.settings import Settings

app = typer.Typer(cls=VerbGroup, rich_markup_mode=None)


@app.command()
def doctor(output: Annotated[str, typer.Option("--format", "-f", help="table or json")] = "table") -> None:
    """Servers, processes, replication slots, topics, clock: what is not as it must be. Exit code 5 on a finding."""
    if output not in ("table", "json"):
        raise WrongUsage("--format is table or json")
    report = examine(Settings())
    if output == "json":
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        _print(report)
    if not report.ok:
        raise CheckFailed("" if output == "json" else f"{len(report.findings)} findings")


def _print(report: Report) -> None:
    width = max((len(name) for name in report.figures), default=0)
    for name, figure in report.figures.items():
        typer.echo(f"{name:<{width}}  {figure}")
    for finding in report.findings:
        typer.echo(f"FINDING {finding.check}: {finding.place}: {finding.message}")
    if not report.findings:
        typer.echo("all is as it must be")
