"""Topics that cannot be true, on a Kafka of the test's own: the index keeps to what stands, and says what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from structlog.testing import capture_logs

from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, now
from schemas.histories import message_of
from schemas.messages import PaymentCaptured
from schemas.partitioning import partition_of
from schemas.records import encode_record
from schemas.topics import PARTITIONS, PAYMENTS_EVENTS, TOPICS
from streams.histories.following import Follower
from tally.local.kafka import Kafka

CODEC = AvroCodec()
SUBJECT, OTHER = "o1", "o2"
OWNED = set(range(PARTITIONS))
Until = Callable[..., Any]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Kafka(tmp_path_factory.mktemp("kafka"))
    try:
        server.start()
        yield server.bootstrap
    finally:
        server.stop()


@pytest.fixture
def topic(broker: str, until: Until) -> Iterator[str]:
    """The payments' topic, new and empty."""
    admin = AdminClient({"bootstrap.servers": broker})
    make(admin)
    until(lambda: partitions(admin) == PARTITIONS, "the broker knows the topic")
    yield broker
    drop(admin, until)


def make(admin: AdminClient) -> None:
    new = NewTopic(PAYMENTS_EVENTS, PARTITIONS, 1, config=TOPICS[PAYMENTS_EVENTS].config)
    admin.create_topics([new])[PAYMENTS_EVENTS].result(30)


def drop(admin: AdminClient, until: Until) -> None:
    admin.delete_topics([PAYMENTS_EVENTS])[PAYMENTS_EVENTS].result(30)
    until(lambda: partitions(admin) == 0, "the topic is gone")


def partitions(admin: AdminClient) -> int:
    found = admin.list_topics(timeout=10).topics.get(PAYMENTS_EVENTS)
    return 0 if found is None or found.error is not None else len(found.partitions)


def event(subject: str, version: int, id_: str) -> Message:
    envelope = Envelope(id_, "PAYMENT_CAPTURED", "/t", "payments", subject, version, now(), "c", "c")
    return Message(envelope, PaymentCaptured(subject, 100, "GBP", "tok_ok"))


def publish(bootstrap: str, *messages: Message) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "enable.idempotence": True})
    for message in messages:
        key, value, headers = encode_record(message, CODEC)
        producer.produce(PAYMENTS_EVENTS, value, key, headers=headers)
    assert producer.flush(20) == 0


@contextmanager
def following(bootstrap: str, folder: Path) -> Iterator[Follower]:
    follower = Follower(bootstrap, folder, lambda: OWNED)
    follower.start()
    try:
        yield follower
    finally:
        follower.stop()


def ids(follower: Follower, subject: str = SUBJECT) -> list[str]:
    if follower.index is None:
        return []
    return [message_of(row, CODEC).envelope.id for row in follower.index.read("payments", subject, 1, 99)]


def test_a_topic_that_was_made_anew_is_indexed_anew(topic: str, tmp_path: Path, until: Until) -> None:
    publish(topic, event(SUBJECT, 1, "old-1"), event(SUBJECT, 2, "old-2"), event(OTHER, 1, "old-other"))
    with following(topic, tmp_path) as follower:
        until(lambda: (ids(follower), ids(follower, OTHER)) == (["old-1", "old-2"], ["old-other"]), "all is indexed")
    admin = AdminClient({"bootstrap.servers": topic})
    drop(admin, until)
    make(admin)
    until(lambda: partitions(admin) == PARTITIONS, "the broker knows the topic")
    publish(topic, event(SUBJECT, 1, "new-1"))
    with following(topic, tmp_path) as follower:
        until(lambda: ids(follower) == ["new-1"], "the new history stands alone")
        assert ids(follower, OTHER) == []


def test_another_event_under_a_version_and_what_is_no_event_are_passed_over_and_said(
    topic: str, tmp_path: Path, until: Until
) -> None:
    publish(topic, event(SUBJECT, 1, "first"), event(SUBJECT, 1, "second"))
    producer = Producer({"bootstrap.servers": topic})
    producer.produce(PAYMENTS_EVENTS, b"no event", OTHER.encode(), partition_of(OTHER.encode(), PARTITIONS))
    assert producer.flush(20) == 0
    publish(topic, event(OTHER, 1, "after"))
    with capture_logs() as said, following(topic, tmp_path) as follower:
        until(lambda: (ids(follower), ids(follower, OTHER)) == (["first"], ["after"]), "all is indexed")
        assert follower.index is not None
        assert (follower.index.forked, follower.index.unreadable) == (1, 1)
    told = [(line["log_level"], line["topic"], line["partition"]) for line in said if "tally fsck" in line["event"]]
    places = {partition_of(subject.encode(), PARTITIONS) for subject in (SUBJECT, OTHER)}
    assert set(told) == {("error", PAYMENTS_EVENTS, partition) for partition in places}
