"""Which version of each table is served, as the topic of table versions tells: only that one is copied."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connectors.consuming import KafkaAway
from schemas.table_versions import Versions, newest_by_name

READ_WITHIN_S = 10.0
FIRST_POLL_S = 1.0
# The broker answers at the first record, and there is one in a month; but a partition that is empty or was read is
# known to be so only when it answers, and a start waits for that.
FETCH_WAIT_MS, FIRST_FETCH_WAIT_MS = 5_000, 10


class ServedVersions:
    """Read from the beginning at the first look, and on from there; one thread uses it."""

    def __init__(self, bootstrap: str, topic: str, tables: tuple[str, ...]) -> None:
        self._bootstrap, self._topic, self._tables = bootstrap, topic, tables
        self._consumer: Consumer | None = None
        self._known: dict[str, Versions] = {}

    def look(self) -> dict[str, int]:
        """By table, as of now. Raises KafkaAway."""
        try:
            if self._consumer is None:
                self._open()
            while self._consumer is not None and (message := self._consumer.poll(0)) is not None:
                self._note(message)
        except KafkaException as error:
            self.close()
            raise KafkaAway(f"table versions: {error}") from None
        return {table: self._known.get(table, Versions()).served for table in self._tables}

    def close(self) -> None:
        """Gives the connection back."""
        if self._consumer is not None:
            self._consumer.close()
        self._consumer = None

    def _open(self) -> None:
        reached = self._read_all()
        if reached:
            self._consumer = self._made(FETCH_WAIT_MS)
            self._consumer.assign([TopicPartition(self._topic, number, offset) for number, offset in reached.items()])

    def _read_all(self) -> dict[int, int]:
        """Reads what stands there now; the offset behind it of each partition, none where there is no topic."""
        consumer, reached = self._made(FIRST_FETCH_WAIT_MS), dict[int, int]()
        try:
            found = consumer.list_topics(self._topic, timeout=READ_WITHIN_S).topics[self._topic]
            # A system from before there were versions has no such topic: the first ones are served.
            numbers = [] if found.error is not None else sorted(found.partitions)
            consumer.assign([TopicPartition(self._topic, number, 0) for number in numbers])
            ends_at_s = time.monotonic() + READ_WITHIN_S
            while len(reached) < len(numbers):
                message = consumer.poll(FIRST_POLL_S)
                if self._note(message):
                    reached[message.partition()] = message.offset()
                if time.monotonic() > ends_at_s:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        finally:
            consumer.close()
        return reached

    def _made(self, fetch_wait_ms: int) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "tally-copies-versions",  # never joined: partitions are assigned by hand
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": fetch_wait_ms,
                "log_level": 0,
            }
        )

    def _note(self, message: Any) -> bool:
        """Whether it is the end of a partition."""
        if message is None:
            return False
        error = message.error()
        if error is None:
            self._known |= newest_by_name([(message.key(), message.value())], self._tables)
            return False
        if error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        return True
