"""The verb audit: do the books balance?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tally.audit.collecting import SERVICES, Sources, SourceUnreachable
from tally.audit.report import Report
from tally.audit.running import SETTLE_S
from tally.audit.running import audit as run_audit
from tally.cli.failures import CheckFailed, OutOfReach, VerbGroup, WrongUsage
from tally.cli.kafka import failing_plainly
from tally.settings import Settings

app = typer.Typer(cls=VerbGroup, rich_markup_mode=None)


@app.command()
def audit(
    settle: Annotated[float, typer.Option("--settle", help="Seconds for messages in flight to arrive.")] = SETTLE_S,
    output: Annotated[str, typer.Option("--format", "-f", help="table or json")] = "table",
) -> None:
    """Compare topics, tables, databases and copies; exit code 5 when a difference outlives messages in flight."""
    if output not in ("table", "json"):
        raise WrongUsage("--format is table or json")
    with failing_plainly():
        try:
            report = run_audit(sources(Settings()), settle, lambda line: typer.echo(line, err=True))
        except SourceUnreachable as error:
            raise OutOfReach(str(error)) from None
    if output == "json":
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        print_report(report)
    if not report.ok:
        raise CheckFailed("" if output == "json" else f"{len(report.findings)} findings")


def sources(settings: Settings) -> Sources:
    """Where the books of the running system are."""
    return Sources(
        kafka=settings.kafka_bootstrap,
        databases={service: settings.database_url(service) for service in SERVICES},
        redis_url=settings.redis_url,
    )


def print_report(report: Report) -> None:
    """The report for people."""
    print_figures(report)
    typer.echo("the books balance" if report.ok else "the books do NOT balance")


def print_figures(report: Report) -> None:
    """Figures and findings, a line each."""
    document = report.to_json()
    width = max((len(name) for name in document["figures"]), default=0)
    for name, figure in document["figures"].items():
        typer.echo(f"{name.replace('_', ' '):<{width}}  {figure}")
    for finding in document["findings"]:
        typer.echo(f"FINDING {finding['check']}: {finding['place']}: {finding['message']}")
