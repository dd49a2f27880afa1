"""Real servers for the tests: those that the environment names, else started once for the whole session."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from properties import judge_by_what_is_found

from tally.local.databases import PostgresHost
from tally.local.kafka import Kafka
from tally.local.postgres import Postgres
from tally.local.server import Server
from tally.local.valkey import Valkey

Value = TypeVar("Value")


def pytest_configure() -> None:
    judge_by_what_is_found()


@pytest.fixture(scope="session")
def servers_dir() -> Iterator[Path]:
    """Data directory of the session's servers; not below pytest's folder, which PostgreSQL's account cannot enter."""
    with tempfile.TemporaryDirectory(prefix="tally-tests-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def kafka(servers_dir: Path) -> Iterator[str]:
    """Bootstrap address `host:port`."""
    given = os.environ.get("TALLY_KAFKA_BOOTSTRAP")
    if given:
        yield given
        return
    server = Kafka(servers_dir)
    yield from _started(server, server.bootstrap)


@pytest.fixture(scope="session")
def postgres(servers_dir: Path) -> Iterator[PostgresHost]:
    """A server to create databases and roles in."""
    given = os.environ.get("TALLY_TEST_POSTGRES_URL")
    if given:
        yield PostgresHost(given)
        return
    server = Postgres(servers_dir, durable=False)
    yield from _started(server, server.host)


@pytest.fixture(scope="session")
def valkey(servers_dir: Path) -> Iterator[str]:
    """Address `redis://host:port/0`."""
    given = os.environ.get("TALLY_REDIS_URL")
    if given:
        yield given
        return
    server = Valkey(servers_dir)
    yield from _started(server, server.url)


def _started(server: Server, value: Value) -> Iterator[Value]:
    try:
        server.start()
        yield value
    finally:
        server.stop()
