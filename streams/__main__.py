"""`python -m streams --index 0 --port N`: starts one worker."""

from __future__ import annotations

from typing import Annotated

import typer
import uvloop

from streams.worker.process import WorkerSettings, work
from streams.worker.web import PortTaken
from tally import logs
from tally.settings import NothingRuns, Settings, SettingsError

cli = typer.Typer(add_completion=False)


@cli.command()
def worker(
    port: Annotated[int, typer.Option(help="port for probes and queries")],
    index: Annotated[int, typer.Option(min=0, help="slot of this worker in its group, from 0")] = 0,
    host: Annotated[str, typer.Option(help="address to listen on; others reach the worker by it")] = "127.0.0.1",
) -> None:
    """One worker: the agents of inventory, sagas and read models, and queries of their tables."""
    logs.configure(f"worker-{index}")
    known = Settings()
    settings = WorkerSettings(known.kafka_bootstrap, index, host, port, known.data_dir)
    try:
        code = uvloop.run(work(settings))
    except PortTaken as taken:
        typer.echo(str(taken), err=True)
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
