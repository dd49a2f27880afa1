"""Follows the event topics into the index: a thread beside the agents, without a group and out of their transactions."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import EVENT_TOPICS, PARTITIONS
from streams.histories.index import HistoryIndex, Indexed, Position, StoreFailed

BATCH_RECORDS_MAX = 2_000
# How late a stop, or partitions that came, can be noticed; a record ends the wait at once.
POLL_S = 0.5
# After the first record: a write of many takes less of the agents' processor than many writes.
GATHER_S = 0.1
# A broker that is away is asked again this often.
AGAIN_AFTER_S = 1.0
REQUEST_TIMEOUT_S = 10.0
_NO_GROUP = "tally-histories"

log = structlog.get_logger()


class Follower:
    """Indexes what lies in the partitions that `owned` tells, from its start until `stop`.

    `index` is None until the store in `folder` is open: a process of the same slot that stalled may still hold it.
    """

    def __init__(self, bootstrap: str, folder: Path, owned: Callable[[], set[int]]) -> None:
        self._bootstrap, self._folder, self._owned = bootstrap, folder, owned
        self.index: HistoryIndex | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="histories", daemon=True)
        self._followed: set[int] = set()
        self._topic_ids: dict[str, str] = {}
        self._is_told = False

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, waits for it, and closes the store."""
        self._ended.set()
        self._thread.join()
        if self.index is not None:
            self.index.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.index = HistoryIndex(self._folder)
                self._is_told = False
                self._follow(self.index)
            except StoreFailed as failed:
                self._put_away(failed)
                self._ended.wait(AGAIN_AFTER_S)

    def _put_away(self, failed: StoreFailed) -> None:
        """So that the store is opened again: it can be made from the topics at any time."""
        if failed.is_damaged:
            log.error("the index of histories is damaged and begun anew", error=str(failed))
        elif not self._is_told:
            log.warning("histories wait for their store", error=str(failed))
        self._is_told, self._followed = True, set()
        index, self.index = self.index, None
        if index is not None:
            index.close()
        if failed.is_damaged:
            shutil.rmtree(self._folder)

    def _follow(self, index: HistoryIndex) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": _NO_GROUP,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": False,
                # Nobody waits for the index (the outbox gives the tail), so the broker need not answer each commit.
                "fetch.min.bytes": 65_536,
                "fetch.wait.max.ms": 200,
                "log_level": 0,
            }
        )
        try:
            while not self._ended.is_set():
                try:
                    self._step(consumer, index)
                except KafkaException as error:
                    log.warning("histories wait for Kafka", error=str(error))
                    self._followed = set()
                    self._ended.wait(AGAIN_AFTER_S)
        finally:
            consumer.close()

    def _step(self, consumer: Consumer, index: HistoryIndex) -> None:
        owned = self._owned()
        if owned != self._followed:
            self._topic_ids = self._ids()
            places = [(topic, n) for topic in self._topic_ids for n in sorted(owned)]
            consumer.assign([TopicPartition(*place, self._begin(index, *place)) for place in places])
            self._followed = owned
        first = consumer.poll(POLL_S)
        if first is None:
            return
        messages = [first, *consumer.consume(BATCH_RECORDS_MAX - 1, timeout=GATHER_S)]
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
        by_place = sorted(messages, key=_place)  # stable: offsets stay in order
        for (topic, partition), records in groupby(by_place, key=_place):
            self._add(index, (topic, partition), list(records))

    def _begin(self, index: HistoryIndex, topic: str, partition: int) -> int:
        """The offset to go on from; from the start where the topic is not the one that was indexed."""
        kept = index.position(topic, partition)
        if kept is None:
            return 0
        if kept.topic_id == self._topic_ids[topic]:
            return kept.next_offset
        log.warning("an event topic was made anew; its histories are indexed again", topic=topic)
        index.forget(topic, range(PARTITIONS), topic.removesuffix(".events"))
        return 0

    def _add(self, index: HistoryIndex, place: tuple[str, int], messages: list[Message]) -> None:
        records = [
            Indexed(message.offset(), message.headers() or [], message.value() or b"")
            for message in messages
            if message.error() is None
        ]
        reached = Position(self._topic_ids[place[0]], messages[-1].offset() + 1)
        passed_over = index.forked + index.unreadable
        index.add(*place, records, reached)
        if index.forked + index.unreadable > passed_over:
            where = {"topic": place[0], "partition": place[1], "before_offset": reached.next_offset}
            log.error("histories lack what cannot be theirs; see `tally fsck`", **where)

    def _ids(self) -> dict[str, str]:
        """Ids of the event topics that are there. Raises KafkaException."""
        admin = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})
        there = set(admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics) & set(EVENT_TOPICS)
        asked = admin.describe_topics(TopicCollection(sorted(there)), request_timeout=REQUEST_TIMEOUT_S)
        return {topic: str(future.result().topic_id) for topic, future in asked.items()}


def _place(message: Message) -> tuple[str, int]:
    return message.topic(), message.partition()
