"""A migrated database, empty for every test that asks for one."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from two_phase_pair import OwnServer, emptied

from producers.store.connections import Pool, open_pool
from producers.store.migrating import migrate
from producers.store.tables import Roles
from tally.local.databases import PostgresHost, ServiceDatabase
from tally.local.postgres import Postgres

NewDatabase = Callable[[str], ServiceDatabase]


@pytest.fixture(scope="session")
def new_database(postgres: PostgresHost) -> Iterator[NewDatabase]:
    """Makes a service's database with roles, migrated; gone after the session."""
    made: list[str] = []

    def make(service: str) -> ServiceDatabase:
        name = f"{service}_{uuid.uuid4().hex[:10]}"
        made.append(name)
        database = postgres.create_service(name, lambda role: f"secret-of-{role}")
        migrate(service, database.owner_url, Roles(name, f"{name}_connector"))
        return database

    yield make
    for name in made:
        postgres.drop_database(name)
        with psycopg.connect(postgres.superuser_url, autocommit=True) as connection:
            for role in (name, f"{name}_owner", f"{name}_connector"):
                connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))


@pytest.fixture(scope="session")
def kept_orders_database(new_database: NewDatabase) -> ServiceDatabase:
    """The database of orders, for the whole session."""
    return new_database("orders")


@pytest.fixture(scope="session")
def kept_payments_database(new_database: NewDatabase) -> ServiceDatabase:
    """The database of payments, for the whole session."""
    return new_database("payments")


@pytest.fixture
def orders_database(kept_orders_database: ServiceDatabase) -> ServiceDatabase:
    """The database of orders, empty."""
    return emptied("orders", kept_orders_database)


@pytest.fixture
def payments_database(kept_payments_database: ServiceDatabase) -> ServiceDatabase:
    """The database of payments, empty."""
    return emptied("payments", kept_payments_database)


@pytest.fixture
def orders_pool(orders_database: ServiceDatabase) -> Iterator[Pool]:
    """A pool as the orders service has it."""
    pool = open_pool(orders_database.service_url, "orders")
    yield pool
    pool.close()


@pytest.fixture
def payments_pool(payments_database: ServiceDatabase) -> Iterator[Pool]:
    """A pool as the payments service has it."""
    pool = open_pool(payments_database.service_url, "payments")
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def own_server() -> Iterator[OwnServer]:
    """A server that tests may kill, stop and restore, with the databases of all services."""
    with tempfile.TemporaryDirectory(prefix="tally-tests-") as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder), durable=False)
        try:
            server.start()
            databases = server.create_services()
            for service in ("orders", "payments"):
                migrate(service, databases[service].owner_url)
            yield OwnServer(server, databases)
        finally:
            server.stop()
            server.remove_data()
