"""The verbs groups list and lag."""

from __future__ import annotations

from typing import Annotated

import typer

from tally.cli.failures import NotFound, group
from tally.cli.kafka import Bootstrap, address, failing_plainly
from tally.cli.printing import Format, print_rows
from tally.reading import groups

app = group("Consumer groups: who reads, and how far behind.")


@app.command("list")
def list_(bootstrap: Bootstrap = None, form: Format = None) -> None:
    """Every consumer group with its state."""
    with failing_plainly():
        rows = [{"group": name, "state": state} for name, state in groups.names(address(bootstrap))]
    print_rows(rows, ("group", "state"), form)


@app.command()
def lag(
    names: Annotated[list[str] | None, typer.Argument(help="Which groups; all by default.")] = None,
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """How many records each group has still to read, by partition."""
    where = address(bootstrap)
    with failing_plainly():
        known = {name for name, _ in groups.names(where)}
        for name in names or ():
            if name not in known:
                raise NotFound(f"there is no group {name}")
        found = groups.lags(where, names or None)
    rows = [
        {
            "group": one.group,
            "topic": one.topic,
            "partition": one.partition,
            "committed": one.committed,
            "end": one.end,
            "lag": one.lag,
        }
        for one in found
    ]
    print_rows(rows, ("group", "topic", "partition", "committed", "end", "lag"), form)
