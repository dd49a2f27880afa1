"""The verb fsck: is every history whole, and does everything agree with it?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from schemas.topics import EVENT_TOPICS, TOPICS
from tally.audit.collecting import SERVICES, SourceUnreachable
from tally.audit.report import Finding
from tally.cli.audit import print_figures
from tally.cli.failures import CheckFailed, OutOfReach, VerbGroup, WrongUsage
from tally.cli.kafka import address, administering, failing_plainly
from tally.cli.topics import faults_there
from tally.fsck.running import Sources, topics_there
from tally.fsck.running import fsck as run_fsck
from tally.fsck.scanning import REMEDY
from tally.reading.reader import Reader
from tally.settings import Settings

app = typer.Typer(cls=VerbGroup, rich_markup_mode=None)


@app.command()
def fsck(
    databases: Annotated[bool, typer.Option(help="Compare with the head rows of the services' databases.")] = True,
    tables: Annotated[bool, typer.Option(help="Compare with the tables of the workers.")] = True,
    output: Annotated[str, typer.Option("--format", "-f", help="table or json")] = "table",
) -> None:
    """Read every event: versions dense, none twice, heads, snapshots and tables agree; exit code 5 on any fault."""
    if output not in ("table", "json"):
        raise WrongUsage("--format is table or json")
    settings, bootstrap = Settings(), address(None)
    urls = {service: settings.database_url(service) for service in SERVICES} if databases else {}
    with failing_plainly():
        try:
            report = run_fsck(
                Sources(bootstrap, urls, tables),
                lambda: topic_faults(bootstrap),
                lambda line: typer.echo(line, err=True),
            )
        except SourceUnreachable as error:
            raise OutOfReach(str(error)) from None
    if output == "json":
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        print_figures(report)
        typer.echo("every history is whole" if report.ok else "faults were found")
    if not report.ok:
        raise CheckFailed("" if output == "json" else f"{len(report.findings)} findings")


def topic_faults(bootstrap: str) -> list[Finding]:
    """Event topics that do not keep everything: settings, partitions, and what is gone already."""
    check = "topics-keep-all"
    with administering(bootstrap) as admin:
        lines = faults_there(admin, [TOPICS[name] for name in EVENT_TOPICS])
    found = [Finding(check, line.split(" ")[0], f"{line}; {REMEDY[check]}") for line in lines]
    with Reader(bootstrap) as reader:
        there = topics_there(reader)
        found += [
            Finding(check, topic, f"{topic} is not there; {REMEDY[check]}")
            for topic in EVENT_TOPICS
            if topic not in there
        ]
        for topic in there:
            for number in reader.partitions(topic):
                low, _ = reader.bounds((topic, number))
                if low:
                    place = f"{topic}/{number}"
                    found.append(Finding(check, place, f"what stood before offset {low} is gone; {REMEDY[check]}"))
    return found
