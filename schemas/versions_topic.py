"""Reads `table-versions`: all that stands there now, and what comes after it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.table_versions import Versions, newest_by_name
from schemas.topics import TABLE_VERSIONS

ANSWER_WITHIN_S = 10.0
# How late it is noticed that reading is to end; a record ends the wait at once.
POLL_S = 0.5
# The broker answers at the first record, and there is one in a month; but a partition that is empty or was read is
# known to be so only when it answers, and a start waits for that.
FETCH_WAIT_MS, FIRST_FETCH_WAIT_MS = 5_000, 10


class VersionsTopic:
    """Read by one thread, which calls `read_all` first. What names none of the read models `known` is passed over.

    `group` is never joined: partitions are assigned by hand. Its methods raise KafkaException.
    """

    def __init__(self, bootstrap: str, group: str, known: Collection[str], topic: str = TABLE_VERSIONS) -> None:
        self._bootstrap, self._group, self._known, self._topic = bootstrap, group, known, topic
        self._consumer: Consumer | None = None
        # Partitions, and of each that is read up to its end the offset behind it.
        self._numbers: list[int] = []
        self._reached: dict[int, int] = {}

    @property
    def is_there(self) -> bool:
        """Whether there is such a topic: a system from before there were versions has none, and the first are served."""
        return bool(self._numbers)

    @property
    def is_read(self) -> bool:
        """Whether everything was read that stood there."""
        return len(self._reached) == len(self._numbers)

    def read_all(self, goes_on: Callable[[], bool]) -> dict[str, Versions]:
        """What stands there now, by read model; `goes_on` says now and then whether it is still waited for."""
        found: dict[str, Versions] = {}
        consumer = self._made(FIRST_FETCH_WAIT_MS)
        try:
            topic = consumer.list_topics(self._topic, timeout=ANSWER_WITHIN_S).topics[self._topic]
            self._numbers = [] if topic.error is not None else sorted(topic.partitions)
            consumer.assign([TopicPartition(self._topic, number, 0) for number in self._numbers])
            while not self.is_read and goes_on():
                if (message := consumer.poll(POLL_S)) is not None:
                    found |= self._take(message)
        finally:
            consumer.close()
        if self.is_there and self.is_read:
            self._consumer = self._made(FETCH_WAIT_MS)
            places = [TopicPartition(self._topic, number, offset) for number, offset in self._reached.items()]
            self._consumer.assign(places)
        return found

    def poll(self, within_s: float) -> dict[str, Versions] | None:
        """What came behind all that was read, perhaps nothing of ours; None if nothing came within so many seconds."""
        message = None if self._consumer is None else self._consumer.poll(within_s)
        return None if message is None else self._take(message)

    def close(self) -> None:
        """Gives the connection back."""
        if self._consumer is not None:
            self._consumer.close()
        self._consumer = None

    def _take(self, message: Message) -> dict[str, Versions]:
        error = message.error()
        if error is None:
            return newest_by_name([(message.key(), message.value())], self._known)
        if error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        self._reached[message.partition() or 0] = message.offset() or 0
        return {}

    def _made(self, fetch_wait_ms: int) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": self._group,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": fetch_wait_ms,
                "log_level": 0,
            }
        )
