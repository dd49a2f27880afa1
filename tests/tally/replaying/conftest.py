"""For tests of replays: something to replay, and names for where it goes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from replay_source import Source, make_topic


@pytest.fixture
def source(kafka: str) -> Iterator[Source]:
    """A topic, written, that a test may add to."""
    yield from _written(kafka)


@pytest.fixture(scope="session")
def written(kafka: str) -> Iterator[Source]:
    """A topic for tests that only look."""
    yield from _written(kafka)


def _written(kafka: str) -> Iterator[Source]:
    made = Source(kafka, f"events-{uuid.uuid4().hex[:8]}")
    make_topic(kafka, made.topic, **{"retention.ms": "-1"})
    made.write()
    yield made
    admin = AdminClient({"bootstrap.servers": kafka})
    there = admin.list_topics(timeout=10).topics
    for future in admin.delete_topics([name for name in (made.topic, *made.made) if name in there]).values():
        future.result(30)


@pytest.fixture
def id_() -> str:
    """An id that no other test has."""
    return f"replay-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "orders.jsonl"
