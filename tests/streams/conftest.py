"""A Kafka of its own for the worker's tests: its topics, its group and its tables have names that are fixed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.topics import TOPICS
from tally.local.kafka import Kafka


@pytest.fixture(scope="session")
def tally_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap address of a Kafka that has all of Tally's topics."""
    server = Kafka(tmp_path_factory.mktemp("tally-kafka"))
    try:
        server.start()
        create_topics(server.bootstrap)
        yield server.bootstrap
    finally:
        server.stop()


def create_topics(bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = [
        NewTopic(topic.name, num_partitions=topic.partitions, replication_factor=1, config=topic.config)
        for topic in TOPICS.values()
    ]
    for created in admin.create_topics(topics).values():
        created.result(timeout=30)
