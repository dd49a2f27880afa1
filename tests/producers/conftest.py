"""A migrated database of its own for every test that asks for one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from producers.store.connections import Pool, open_pool
from producers.store.migrating import migrate
from producers.store.tables import Roles
from tally.local.databases import PostgresHost, ServiceDatabase

NewDatabase = Callable[[str], ServiceDatabase]


@pytest.fixture
def new_database(postgres: PostgresHost) -> Iterator[NewDatabase]:
    """Makes a service's database with roles, migrated; gone after the test."""
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


@pytest.fixture
def orders_database(new_database: NewDatabase) -> ServiceDatabase:
    """The database of orders."""
    return new_database("orders")


@pytest.fixture
def payments_database(new_database: NewDatabase) -> ServiceDatabase:
    """The database of payments."""
    return new_database("payments")


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
