"""Which version of each table is served, as the topic of table versions tells: only that one is copied."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connectors.consuming import KafkaAway
from schemas.table_versions import Versions, newest_by_name

READ_WITHIN_S = 10.0
# The broker answers at the first record; there is one in a month.
FETCH_WAIT_MS = 5_000


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
            while self._consumer is not None and self._take(self._consumer, 0) is not None:
                pass
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
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "tally-copies-versions",  # never joined: partitions are assigned by hand
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                "log_level": 0,
            }
        )
        try:
            found = consumer.list_topics(self._topic, timeout=READ_WITHIN_S).topics[self._topic]
            unread = set(found.partitions or ())
            if found.error is not None or not unread:
                # A system from before there were versions: the first ones are served.
                consumer.close()
                return
            consumer.assign([TopicPartition(self._topic, number, 0) for number in sorted(unread)])
            ends_at_s = time.monotonic() + READ_WITHIN_S
            while unread:
                unread.discard(self._take(consumer, 1.0))
                if time.monotonic() > ends_at_s:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        except KafkaException:
            consumer.close()
            raise
        self._consumer = consumer

    def _take(self, consumer: Consumer, wait_s: float) -> int | None:
        """One record or end; the partition whose end it is, -1 for a record, None for nothing."""
        message = consumer.poll(wait_s)
        if message is None:
            return None
        error = message.error()
        if error is None:
            self._known |= newest_by_name([(message.key(), message.value())], self._tables)
            return -1
        if error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        number: int | None = message.partition()
        return number
