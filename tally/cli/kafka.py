"""Kafka for verbs: the reader and the administrator of the cluster that runs here, with our failures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.codec import AvroCodec
from schemas.registry import Registry, RegistrySchemas, RegistryUnreachable
from tally.cli.failures import NotFound, OutOfReach
from tally.reading.reader import REQUEST_TIMEOUT_S, Reader, UnknownTopic, Unreachable
from tally.reading.workers import NotServed
from tally.settings import Settings

Bootstrap = Annotated[str | None, typer.Option("--bootstrap", help="host:port of Kafka (TALLY_KAFKA_BOOTSTRAP).")]


def address(bootstrap: str | None) -> str:
    """Where Kafka is: the flag, the environment, or the system that runs here."""
    return Settings(kafka_bootstrap=bootstrap).kafka_bootstrap


def reading_codec() -> AvroCodec:
    """A codec for what others wrote: an id beyond the lock file is asked of the registry, where one is set."""
    url = Settings().schema_registry_url
    # Asked for an unknown id only; the process is one verb, and its end closes the connection.
    return AvroCodec(find=None if url is None else RegistrySchemas(Registry(url)))


@contextmanager
def failing_plainly() -> Iterator[None]:
    """What can go wrong with Kafka and workers, as failures of a verb."""
    try:
        yield
    except UnknownTopic as error:
        raise NotFound(str(error)) from None
    except (Unreachable, NotServed, RegistryUnreachable) as error:
        raise OutOfReach(str(error)) from None
    except KafkaException as error:
        raise OutOfReach(f"Kafka: {error.args[0].str()}") from None


@contextmanager
def reading(bootstrap: str | None) -> Iterator[Reader]:
    """A reader, closed at the end."""
    with failing_plainly(), Reader(address(bootstrap)) as reader:
        yield reader


@contextmanager
def administering(bootstrap: str | None) -> Iterator[AdminClient]:
    """An administrator's client that is known to reach Kafka."""
    where = address(bootstrap)
    with failing_plainly():
        client = AdminClient({"bootstrap.servers": where, "log_level": 0})
        try:
            client.list_topics(timeout=REQUEST_TIMEOUT_S)
        except KafkaException:
            raise OutOfReach(f"Kafka at {where} does not answer") from None
        yield client
