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
def servers(jvm_options: tuple[str, ...] = ()) -> Iterator[tuple[str, PostgresHost]]:
    """(bootstrap, host) of TALLY_KAFKA_BOOTSTRAP and TALLY_TEST_POSTGRES_URL where both are set."""
    bootstrap, url = os.environ.get("TALLY_KAFKA_BOOTSTRAP"), os.environ.get("TALLY_TEST_POSTGRES_URL")
    if bootstrap and url:
        yield bootstrap, PostgresHost(url)
        return
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as folder:
        Path(folder).chmod(0o755)
        kafka, postgres = Kafka(Path(folder), jvm_options=jvm_options), Postgres(Path(folder))
        try:
            kafka.start()
            postgres.start()
            yield kafka.bootstrap, postgres.host
        finally:
            kafka.stop()
            postgres.stop()
