"""The verb demo: starts everything on fresh data, plays real orders, audits, says what to try next."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import httpx
import typer

from tally import endpoints
from tally.audit.collecting import SERVICES, Sources, SourceUnreachable
from tally.cli.failures import CheckFailed, OutOfReach, VerbGroup, WrongUsage
from tally.cli.kafka import failing_plainly
from tally.demo import dataset
from tally.demo.running import Running, play
from tally.demo.summary import Played, document, lines_to_copy, print_summary, tally_command
from tally.local import background
from tally.local.child import Child
from tally.local.data_directory import DataDirectory
from tally.local.errors import AlreadyRuns
from tally.local.postgres_place import find_place
from tally.settings import Settings

INVOICES = 3_000
READY_WITHIN_S = 240.0
FOLDER = "demo"

app = typer.Typer(cls=VerbGroup, rich_markup_mode=None)


@app.command()
def demo(
    invoices: Annotated[int, typer.Option(min=1, help="How many invoices of the data set to play.")] = INVOICES,
    exit_: Annotated[bool, typer.Option("--exit", help="End everything afterwards; exit code 0 if all held.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the data of the last run.")] = False,
    rate: Annotated[float | None, typer.Option(min=0.1, help="Orders per second, for all of them.")] = None,
    output: Annotated[str, typer.Option("--format", "-f", help="table or json")] = "table",
) -> None:
    """Real orders (Online Retail) through the whole system, on this machine."""
    if output not in ("table", "json"):
        raise WrongUsage("--format is table or json")
    began_s = time.monotonic()
    home = Settings().data_dir.absolute()
    folder = home / FOLDER
    _make_way(home, folder, keep)
    _say(f"starting Kafka, PostgreSQL, Valkey and our processes; data and logs: {folder}")
    # The file is read while the servers start: both take their seconds.
    with _read_ahead(invoices) as data, _system(home, folder) as running_system:
        _say(f"ready after {time.monotonic() - began_s:.1f} s; playing {invoices:,} invoices of Online Retail")
        running = _running(running_system, home / endpoints.FILE_NAME, began_s)
        played = _play(running, data(), rate, folder)
        held = _tell(played, output)
        if not exit_:
            _stay()
    if not held:
        raise CheckFailed(f"not every promise held; logs: {folder / 'logs'}")


def _make_way(home: Path, folder: Path, keep: bool) -> None:
    """Removes the last run's data unless it is to be kept. Raises AlreadyRuns."""
    for claimed in (home, folder):
        pid = DataDirectory(claimed).owner()
        if pid is not None:
            raise AlreadyRuns(claimed, str(pid))
    if keep:
        _say(f"going on with the data in {folder}")
        return
    _say(f"starting on fresh data in {folder}" + (" (the last run's is removed)" if folder.exists() else ""))
    if folder.exists():
        # PostgreSQL's data may lie elsewhere, where its own account can reach it.
        shutil.rmtree(find_place(folder).data, ignore_errors=True)
        shutil.rmtree(folder)


@contextlib.contextmanager
def _system(home: Path, folder: Path) -> Iterator[dict[str, object]]:
    """Everything, up; it ends with us, however we end."""
    arguments = ["--data-dir", str(folder), "--announce-in", str(home)]
    (home / "logs").mkdir(parents=True, exist_ok=True)
    child: Child
    child, document_ = background.start_attached(home, arguments, READY_WITHIN_S)
    try:
        yield document_
    finally:
        _say("ending everything")
        child.stop(background.STOPPED_WITHIN_S)


@contextlib.contextmanager
def _read_ahead(invoices: int) -> Iterator[Callable[[], dataset.DataSet]]:
    found: list[dataset.DataSet] = []
    thread = threading.Thread(target=lambda: found.append(dataset.load(invoices=invoices)), daemon=True)
    thread.start()

    def data() -> dataset.DataSet:
        thread.join()
        return found[0]

    yield data


def _running(document_: dict[str, object], file: Path, began_s: float) -> Running:
    sources = Sources(
        kafka=str(document_["kafka"]),
        databases={service: str(document_[f"{service}_database"]) for service in SERVICES},
        redis_url=str(document_["redis"]),
    )
    return Running(sources, str(document_["api"]), file, began_s)


def _play(running: Running, data: dataset.DataSet, rate: float | None, folder: Path) -> Played:
    with failing_plainly():
        try:
            return asyncio.run(play(running, data, rate))
        except (SourceUnreachable, httpx.TransportError) as error:
            raise OutOfReach(f"{error or type(error).__name__}; logs: {folder / 'logs'}") from None


def _tell(played: Played, output: str) -> bool:
    """Prints the outcome; whether every promise held."""
    summed_up = document(played)
    if output == "json":
        typer.echo(json.dumps(summed_up, indent=2))
    else:
        print_summary(played)
        typer.echo("to copy:")
        for what, line in lines_to_copy(played, tally_command()):
            typer.echo(f"  # {what}\n  {line}")
    return bool(summed_up["ok"])


def _stay() -> None:
    """Waits for Ctrl-C: everything goes on running."""
    _say("everything goes on running; Ctrl-C ends it")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _say(line: str) -> None:
    typer.echo(line, err=True)
