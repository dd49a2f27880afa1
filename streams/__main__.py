"""`python -m streams --index 0 --port N [--processes N]`: starts one worker, or several and keeps them running."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
import uvloop

from streams.worker.process import FolderUnusable, WorkerSettings, work
from streams.worker.web import PortTaken
from tally import logs
from tally.local.worker_group import PROCESSES_MAX
from tally.settings import NothingRuns, Settings, SettingsError

cli = typer.Typer(add_completion=False)


@cli.command()
def worker(
    port: Annotated[int, typer.Option(help="port for probes and queries; of the first one with --processes")],
    index: Annotated[int, typer.Option(min=0, help="slot of this worker in its group, from 0")] = 0,
    host: Annotated[str, typer.Option(help="address to listen on; others reach the worker by it")] = "127.0.0.1",
    processes: Annotated[
        int, typer.Option(min=1, max=PROCESSES_MAX, help="so many workers, on slots and ports from these on")
    ] = 1,
) -> None:
    """One worker: the agents of inventory, sagas and read models, and queries of their tables."""
    known = Settings()
    settings = WorkerSettings(known.kafka_bootstrap, index, host, port, known.data_dir)
    if processes > 1:
        # Another program, as the one that only watches needs none of what workers have in memory.
        group = [str(processes), str(index), str(port), host]
        os.execv(sys.executable, [sys.executable, "-m", "tally.local.worker_group", *group])
    logs.configure(settings.name)
    try:
        code = uvloop.run(work(settings))
    except (PortTaken, FolderUnusable) as refused:
        typer.echo(str(refused), err=True)
        code = 1
    raise SystemExit(code)


def main() -> None:
    """The command line; settings that are missing or wrong are told in one line."""
    try:
        cli()
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(4 if isinstance(error, NothingRuns) else 2) from None


if __name__ == "__main__":
    main()
