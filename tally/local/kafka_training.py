"""Work for a broker that writes its archive: what it is asked here is what it is best at from its first second on.

The JVM keeps with the classes which of their methods were hot and how they ran (JEP 515), and a later start compiles
those at once as well as it can. So the work is that of Tally: transactions over many partitions with offsets of a
group, and read_committed readers. A process of its own, `python -m tally.local.kafka_training BOOTSTRAP`, as the
supervisor shall not load a client.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.topics import PARTITIONS

# About as many producers and partitions as the system has on one machine; more rounds were no better (measured).
WORKERS = 5
TOPICS = tuple(f"training-{number}" for number in range(10))
ROUNDS = 60
VALUE, HEADERS = bytes(300), {"ce_type": "RESERVATION_REQUESTED", "ce_id": "0" * 36, "traceparent": "0" * 55}


def train(bootstrap: str) -> None:
    """Make the topics and let all workers do their rounds."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    # Every second one as a changelog is.
    topics = [
        NewTopic(name, PARTITIONS, 1, config={"cleanup.policy": "compact"} if number % 2 else {})
        for number, name in enumerate(TOPICS)
    ]
    for made in admin.create_topics(topics).values():
        made.result()
    with ThreadPoolExecutor(WORKERS) as pool:
        for done in [pool.submit(_work, bootstrap, number) for number in range(WORKERS)]:
            done.result()


def _work(bootstrap: str, number: int) -> None:
    """Consume one topic and produce to all, a transaction a round."""
    name = f"training-{number}"
    settings = {"bootstrap.servers": bootstrap, "log_level": 2}
    producer = Producer(settings | {"transactional.id": name, "retry.backoff.ms": 2, "retry.backoff.max.ms": 10})
    consumer = Consumer(settings | {"group.id": name, "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    try:
        producer.init_transactions()
        consumer.subscribe([TOPICS[number]])
        for round_ in range(ROUNDS):
            producer.begin_transaction()
            for topic in TOPICS:
                for partition in range(PARTITIONS):
                    producer.produce(topic, VALUE, str(round_), partition, headers=HEADERS)
            read = {(record.topic(), record.partition()): record.offset() for record in consumer.consume(100, 0.01)}
            offsets = [TopicPartition(topic, partition, offset + 1) for (topic, partition), offset in read.items()]
            if offsets:
                producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
            producer.commit_transaction()
    finally:
        consumer.close()


if __name__ == "__main__":
    train(sys.argv[1])
