"""Starts what the write side consists of: the API, the sandbox of the payment provider, migrations."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Annotated

import typer

from tally import logs
from tally.settings import NothingRuns, Settings, SettingsError

SERVICES = ("orders", "payments", "customers")

cli = typer.Typer(add_completion=False, no_args_is_help=True)
Port = Annotated[int | None, typer.Option(help="port to listen on")]
Host = Annotated[str, typer.Option(help="address to listen on")]


@cli.command()
def api(port: Port = None, host: Host = "127.0.0.1") -> None:
    """The HTTP interface."""
    logs.configure("api")
    settings = Settings(api_port=port)
    orders_url, bootstrap = settings.orders_database_url, settings.kafka_bootstrap
    process = _load("producers.api.process")
    process.run(
        process.ApiSettings(
            place=process.Place(host, settings.api_port),
            orders_database_url=orders_url,
            kafka_bootstrap=bootstrap,
            payments_database_url=settings.values.payments_database_url,
            redis_url=settings.values.redis_url,
        ),
        _load("tally.reading.letters").KafkaLetters(bootstrap),
        _load("tally.reading.timelines").KafkaTimelines(bootstrap),
    )


@cli.command("payment-sandbox")
def payment_sandbox(port: Annotated[int, typer.Option(help="port to listen on")], host: Host = "127.0.0.1") -> None:
    """A payment provider to play with: a process of its own, which remembers what it authorised."""
    logs.configure("payment-sandbox")
    folder = Settings().data_dir / "payment-sandbox"
    folder.mkdir(parents=True, exist_ok=True)
    serving = _load("producers.serving")
    app = _load("producers.payments.sandbox").make_sandbox(folder / "payments.sqlite3")
    serving.serve(app, serving.Place(host, port))


@cli.command("migrate")
def migrate_databases(
    service: Annotated[list[str] | None, typer.Argument(help="orders, payments, customers; all by default")] = None,
    role: Annotated[str | None, typer.Option(help="the service's role; its name by default")] = None,
    connector_role: Annotated[str | None, typer.Option(help="the connector's role; <service>_connector")] = None,
) -> None:
    """Brings the services' databases to the newest revision, as their owners (TALLY_<SERVICE>_OWNER_URL)."""
    logs.configure("migrate")
    settings = Settings()
    migrating = _load("producers.store.migrating")
    for name in service or SERVICES:
        roles = migrating.Roles(role or name, connector_role or f"{name}_connector")
        migrating.migrate(name, settings.owner_url(name), roles)
        typer.echo(f"{name}: at the newest revision")


def main() -> None:
    """The command line; settings that are missing or wrong are told in one line."""
    try:
        cli()
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(4 if isinstance(error, NothingRuns) else 2) from None


def _load(module: str) -> ModuleType:
    """Each process loads its own modules: alembic, Kafka and the API's routes would double the sandbox's memory."""
    return import_module(module)


if __name__ == "__main__":
    main()
