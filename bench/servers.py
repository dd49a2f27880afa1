"""Kafka and PostgreSQL for a benchmark: those that the environment names, else its own for as long as it runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tally.local.databases import PostgresHost
from tally.local.kafka import Kafka
from tally.local.postgres import Postgres


@contextmanager
def kafka(named: str | None = None, jvm_options: tuple[str, ...] = ()) -> Iterator[str]:
    """The address of a broker: the one that is named, else its own."""
    if named:
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as folder:
        server = Kafka(Path(folder), jvm_options=jvm_options)
        server.start()
        try:
            yield server.bootstrap
        finally:
            server.stop()


@contextmanager
def servers(jvm_options: tuple[str, ...] = ()) -> Iterator[tuple[str, PostgresHost]]:
    """(bootstrap, host) of TALLY_KAFKA_BOOTSTRAP and TALLY_TEST_POSTGRES_URL where both are set."""
    bootstrap, url = os.environ.get("TALLY_KAFKA_BOOTSTRAP"), os.environ.get("TALLY_TEST_POSTGRES_URL")
    if bootstrap and url:
        yield bootstrap, PostgresHost(url)
        return
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as folder, kafka(jvm_options=jvm_options) as own:
        # PostgreSQL runs as another user.
        Path(folder).chmod(0o755)
        postgres = Postgres(Path(folder))
        try:
            postgres.start()
            yield own, postgres.host
        finally:
            postgres.stop()
