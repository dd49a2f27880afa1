"""The API as a process: its real parts, wired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from psycopg_pool import PoolTimeout

from producers.api.app import THREADS_MAX, make_app
from producers.api.asked_of_kafka import Letters, Timelines
from producers.api.copies import NoCopies, ValkeyCopies
from producers.api.histories import Histories
from producers.api.owners import KafkaOwners
from producers.api.parts import Parts
from producers.api.reading import Reader
from producers.api.sending import KafkaCommands
from producers.api.workers import HttpWorkers
from producers.orders.service import OrderService
from producers.serving import Place, serve
from producers.store.connections import Pool, PoolSize, open_pool
from producers.store.port import KnownCommand
from producers.store.postgres import PostgresEventStore
from producers.wallets.service import WalletService
from schemas.codec import AvroCodec
from schemas.topics import APP_ID

CHECK_WITHIN_S = 1.0
# Credits of wallets and look-ups of a payment's command are rare beside orders.
PAYMENTS_POOL = PoolSize(min=0, max=4)


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Where everything is; without a payments database or Valkey the API does without them."""

    place: Place
    orders_database_url: str
    kafka_bootstrap: str
    payments_database_url: str | None = None
    redis_url: str | None = None


def run(settings: ApiSettings, letters: Letters, timelines: Timelines) -> None:
    """Serves until it is told to end."""
    codec = AvroCodec()
    orders_pool = open_pool(settings.orders_database_url, "tally-api-orders", PoolSize(1, THREADS_MAX))
    payments_url = settings.payments_database_url
    payments_pool = None if payments_url is None else open_pool(payments_url, "tally-api-payments", PAYMENTS_POOL)
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap, "client.id": "tally-api-admin"})
    workers, commands = HttpWorkers(), KafkaCommands(settings.kafka_bootstrap, codec)
    copies = ValkeyCopies(settings.redis_url) if settings.redis_url else NoCopies()
    orders = OrderService(PostgresEventStore(orders_pool, codec))
    reader = Reader(KafkaOwners(admin, APP_ID), workers, copies)
    parts = Parts(
        orders=orders,
        find_payment_command=_finder(payments_pool, codec),
        reader=reader,
        commands=commands,
        wallets=None if payments_pool is None else WalletService(PostgresEventStore(payments_pool, codec)),
        checks={"orders database": lambda: _database_fault(orders_pool), "kafka": lambda: _kafka_fault(admin)},
        histories=Histories(reader, orders, codec),
        letters=letters,
        timelines=timelines,
    )

    async def close() -> None:
        await workers.aclose()
        if isinstance(copies, ValkeyCopies):
            await copies.aclose()
        commands.close()
        for pool in (orders_pool, payments_pool):
            if pool is not None:
                pool.close()

    serve(make_app(parts, close), settings.place)


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
        return f"Kafka: {error.args[0].str()}"
    return None
