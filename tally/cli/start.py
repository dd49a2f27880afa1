"""The verbs that start and stop the system on this machine: setup, dev, up, down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tally import endpoints, logs
from tally.cli.failures import Failure, VerbGroup
from tally.local import background
from tally.local.data_directory import DataDirectory
from tally.local.errors import AlreadyRuns
from tally.local.jars import Lock, installed
from tally.local.kafka import archive
from tally.local.kafka_archive import make_archive
from tally.local.postgres_place import newest_programs
from tally.local.system import Plan, System
from tally.local.valkey import program as valkey_program
from tally.settings import ENDPOINT_BY_SETTING, Settings

UP_WITHIN_S = 180.0
MB = 1_000_000

app = typer.Typer(cls=VerbGroup, rich_markup_mode=None)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where data and logs lie (TALLY_DATA_DIR, .tally).")]
ApiPort = Annotated[int | None, typer.Option("--api-port", min=1, max=65535, help="The next free one if taken.")]
Workers = Annotated[int, typer.Option("--workers", min=1, max=16, help="Processes that run agents.")]


@app.command()
def setup() -> None:
    """Fetch what the local servers need; does nothing when all is there."""
    lock = Lock.read()
    if lock.home().is_dir():
        typer.echo(f"Kafka {lock.version}: there ({lock.bytes / MB:.0f} MB in the cache)", err=True)
    installed(lock)
    if not archive(lock).exists():
        typer.echo("Kafka: training it once, so that it starts fast and is fast at once (about 20 s)", err=True)
        make_archive()
    newest_programs()
    typer.echo("PostgreSQL: there", err=True)
    valkey_program()
    typer.echo("Valkey: there", err=True)


@app.command()
def dev(
    data_dir: DataDir = None,
    api_port: ApiPort = None,
    workers: Workers = 1,
    announce_in: Annotated[
        Path | None, typer.Option(help="Folder for endpoints.json, where that is not the data directory.")
    ] = None,
) -> None:
    """Start everything in one process tree on this machine, and stay until Ctrl-C."""
    settings = Settings(data_dir=data_dir, api_port=api_port)
    folder = settings.data_dir.absolute()
    plan = Plan(
        folder, _given(settings), announce_in / endpoints.FILE_NAME if announce_in else None, settings.api_port, workers
    )
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    _say("Tally on this ONE machine, from packages: for trying and developing, NOT for production.")
    _say(f"data and logs: {folder}")
    with (folder / "logs" / "supervisor.log").open("a") as log:
        logs.configure("supervisor", stream=log)
        try:
            System(plan, _say).run(_tell_what_runs)
        except AlreadyRuns as error:
            raise Failure(str(error)) from None
    _say("all ended")


@app.command()
def up(
    data_dir: DataDir = None,
    api_port: ApiPort = None,
    workers: Workers = 1,
    wait: Annotated[float, typer.Option("--wait", help="Seconds to wait until it is ready.")] = UP_WITHIN_S,
) -> None:
    """Start everything and return when it is ready; `tally down` ends it."""
    home = Settings(data_dir=data_dir).data_dir.absolute()
    owner = DataDirectory(home).owner()
    if owner is not None:
        raise Failure(str(AlreadyRuns(home, str(owner))))
    arguments = ["--data-dir", str(home), "--workers", str(workers)]
    if api_port is not None:
        arguments += ["--api-port", str(api_port)]
    _tell_what_runs(background.start_detached(home, arguments, wait))


@app.command()
def down(
    data_dir: DataDir = None, quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing.")] = False
) -> None:
    """End what `tally up` or `tally dev` started, in order; done when nothing runs."""
    ran = background.stop(_home_of_running(data_dir))
    if not quiet:
        _say("all ended" if ran else "nothing runs here")


def _home_of_running(data_dir: Path | None) -> Path:
    if data_dir is not None:
        return data_dir.absolute()
    found = endpoints.find_current()
    return found.parent.absolute() if found else Settings().data_dir.absolute()


def _given(settings: Settings) -> dict[str, str]:
    """Addresses set by flag or environment: these win over local servers. What already runs here does not count."""
    names = [*ENDPOINT_BY_SETTING, "schema_registry_url"]
    return {name: settings.need(name) for name in names if settings.origin(name) in ("flag", "environment")}


def _tell_what_runs(document: dict[str, object]) -> None:
    for name in ("kafka", "redis", "api", "payment_provider"):
        if name in document:
            _say(f"  {name:<17} {document[name]}")
    _say("databases: `tally config show`; interface of the API: /docs; try next, in another terminal:")
    _say("  tally stock receive 85123A --quantity 100")
    _say("  tally orders place --sku 85123A --quantity 2")
    _say("  tally doctor")


def _say(line: str) -> None:
    typer.echo(line, err=True)
