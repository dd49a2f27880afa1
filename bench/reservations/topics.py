"""Makes the topics of a run, and fills its source."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bench.reservations import messages
from bench.reservations.work import FORMS, PARTITIONS, commands
from schemas.records import Record


def make(bootstrap: str, *names: str, compacted: bool = False) -> None:
    config = {"cleanup.policy": "compact"} if compacted else {}
    new = [NewTopic(name, PARTITIONS, 1, config=config) for name in names]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics(new).values():
        future.result(30)


def fill(bootstrap: str, topic: str, form: str, reservations: int) -> int:
    """All commands into the topic; how many they are."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 50,
            "enable.idempotence": True,
            "batch.size": 1_000_000,
        }
    )
    count = 0
    for key, value, headers in messages.records(reservations) if form == messages.FORM else _bare(form, reservations):
        while True:
            try:
                producer.produce(topic, value, key, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
        count += 1
    producer.flush()
    return count


def _bare(form: str, reservations: int) -> Iterator[Record]:
    """Records without headers."""
    write = FORMS[form].write_command
    for command in commands(reservations):
        yield command["sku"].encode(), write(command), []
