"""Starts what the write side consists of: the API, the sandbox of the payment provider, migrations."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import psycopg
import typer
import uvicorn
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from fastapi import FastAPI
from psycopg_pool import PoolTimeout

from producers.api.app import THREADS_MAX, make_app
from producers.api.copies import NoCopies, ValkeyCopies
from producers.api.owners import KafkaOwners
from producers.api.parts import Parts
from producers.api.reading import Reader
from producers.api.sending import KafkaCommands
from producers.api.workers import HttpWorkers
from producers.orders.service import OrderService
from producers.payments.sandbox import make_sandbox
from producers.store.connections import Pool, PoolSize, open_pool
from producers.store.migrating import SERVICES, migrate
from producers.store.port import KnownCommand
from producers.store.postgres import PostgresEventStore
from producers.store.tables import Roles
from schemas.codec import AvroCodec
from schemas.topics import APP_ID
from tally import logs
from tally.settings import NothingRuns, Settings, SettingsError

CHECK_WITHIN_S = 1.0
SHUTDOWN_WITHIN_S = 5
# The look-up of a payment's command is rare.
PAYMENTS_POOL = PoolSize(min=0, max=2)

cli = typer.Typer(add_completion=False, no_args_is_help=True)
Port = Annotated[int | None, typer.Option(help="port to listen on")]
Host = Annotated[str, typer.Option(help="address to listen on")]


@cli.command()
def api(port: Port = None, host: Host = "127.0.0.1") -> None:
    """The HTTP interface."""
    logs.configure("api")
    settings = Settings(api_port=port)
    codec = AvroCodec()
    orders_pool = open_pool(settings.orders_database_url, "tally-api-orders", PoolSize(1, THREADS_MAX))
    payments_pool = _payments_pool(settings)
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap, "client.id": "tally-api-admin"})
    workers, commands = HttpWorkers(), KafkaCommands(settings.kafka_bootstrap, codec)
    redis_url = settings.values.redis_url
    copies = ValkeyCopies(redis_url) if redis_url else NoCopies()
    parts = Parts(
        orders=OrderService(PostgresEventStore(orders_pool, codec)),
        find_payment_command=_finder(payments_pool, codec),
        reader=Reader(KafkaOwners(admin, APP_ID), workers, copies),
        commands=commands,
        checks={"orders database": lambda: _database_fault(orders_pool), "kafka": lambda: _kafka_fault(admin)},
    )

    async def close() -> None:
        await workers.aclose()
        if isinstance(copies, ValkeyCopies):
            await copies.aclose()
        commands.close()
        for pool in (orders_pool, payments_pool):
            if pool is not None:
                pool.close()

    _serve(make_app(parts, close), host, settings.api_port)


@cli.command("payment-sandbox")
def payment_sandbox(port: Port = None, host: Host = "127.0.0.1") -> None:
    """A payment provider to play with: a process of its own, which remembers what it authorised."""
    logs.configure("payment-sandbox")
    settings = Settings()
    if port is None:
        raise typer.BadParameter("--port is missing")
    folder: Path = settings.data_dir / "payment-sandbox"
    folder.mkdir(parents=True, exist_ok=True)
    _serve(make_sandbox(folder / "payments.sqlite3"), host, port)


@cli.command("migrate")
def migrate_databases(
    service: Annotated[list[str] | None, typer.Argument(help="orders, payments, customers; all by default")] = None,
    role: Annotated[str | None, typer.Option(help="the service's role; its name by default")] = None,
    connector_role: Annotated[str | None, typer.Option(help="the connector's role; <service>_connector")] = None,
) -> None:
    """Brings the services' databases to the newest revision, as their owners (TALLY_<SERVICE>_OWNER_URL)."""
    logs.configure("migrate")
    settings = Settings()
    for name in service or SERVICES:
        roles = Roles(role or name, connector_role or f"{name}_connector")
        migrate(name, settings.owner_url(name), roles)
        typer.echo(f"{name}: at the newest revision")


def main() -> None:
    """The command line; settings that are missing or wrong are told in one line."""
    try:
        cli()
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(4 if isinstance(error, NothingRuns) else 2) from None


def _serve(app: FastAPI, host: str, port: int) -> None:
    """One process, one loop; SIGTERM ends it in order."""
    # uvicorn ends in order, then raises the signal again for whoever handled it before.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_WITHIN_S,
    )


def _payments_pool(settings: Settings) -> Pool | None:
    url = settings.values.payments_database_url
    return None if url is None else open_pool(url, "tally-api-payments", PAYMENTS_POOL)


def _finder(pool: Pool | None, codec: AvroCodec) -> Callable[[str], KnownCommand | None]:
    if pool is None:
        return lambda _: None
    return PostgresEventStore(pool, codec).find_command


def _database_fault(pool: Pool) -> str | None:
    try:
        with pool.connection(CHECK_WITHIN_S) as connection:
            connection.execute("select 1")
    except (PoolTimeout, psycopg.OperationalError) as error:
        return str(error)
    return None


def _kafka_fault(admin: AdminClient) -> str | None:
    try:
        admin.list_topics(timeout=CHECK_WITHIN_S)
    except KafkaException as error:
        return str(error)
    return None


if __name__ == "__main__":
    main()
