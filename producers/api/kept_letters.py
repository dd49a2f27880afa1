"""Dead letters as their compacted topic holds them."""

from __future__ import annotations

import time
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.codec import Codec
from schemas.envelope import body_to_json
from schemas.errors import Undecodable
from schemas.letters import FAILED
from schemas.topics import DEAD_LETTERS

ANSWER_WITHIN_S = 10.0
_BATCH_RECORDS = 500

Row = dict[str, Any]


class LettersUnknown(Exception):
    """Kafka did not tell in time."""


class Letters(Protocol):
    """Reads the letters that are there."""

    def read(self) -> list[Row]:
        """All of them; blocks on Kafka. Raises LettersUnknown."""


class KafkaLetters:
    """Letters from their topic, each time anew: few people ask, and few letters there should be."""

    def __init__(self, bootstrap: str, codec: Codec) -> None:
        self._bootstrap, self._codec = bootstrap, codec

    def read(self) -> list[Row]:
        """See `Letters.read`."""
        settings: dict[str, Any] = {
            "bootstrap.servers": self._bootstrap,
            "group.id": "tally-api-letters",
            "client.id": "tally-api-letters",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
        consumer, last = Consumer(settings), dict[str, bytes | None]()
        try:
            self._read_to_the_end(consumer, last)
        except KafkaException as error:
            raise LettersUnknown(error.args[0].str()) from None
        finally:
            consumer.close()
        return [self._row(id_, value) for id_, value in last.items() if value is not None]

    def _read_to_the_end(self, consumer: Consumer, last: dict[str, bytes | None]) -> None:
        ends_at_s = time.monotonic() + ANSWER_WITHIN_S
        partitions = consumer.list_topics(DEAD_LETTERS, timeout=ANSWER_WITHIN_S).topics[DEAD_LETTERS].partitions
        consumer.assign([TopicPartition(DEAD_LETTERS, number, 0) for number in partitions])
        unread = set(partitions)
        while unread:
            if time.monotonic() > ends_at_s:
                raise LettersUnknown("the letters could not be read in time")
            # `consume` alone waits out its time for a full batch: a wait for the first, then what came with it.
            first = consumer.poll(0.2)
            for record in [] if first is None else [first, *consumer.consume(_BATCH_RECORDS - 1, 0)]:
                error = record.error()
                if error is None:
                    last[(record.key() or b"").decode(errors="backslashreplace")] = record.value()
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(record.partition() or 0)
                else:
                    raise KafkaException(error)

    def _row(self, id_: str, value: bytes) -> Row:
        try:
            letter = self._codec.decode(value)
        except Undecodable as error:
            nothing = dict.fromkeys(("topic", "partition", "offset", "key", "error", "lane", "attempts"))
            reason = f"the letter itself cannot be read: {error.reason}"
            return {"id": id_, **nothing, "state": FAILED, "recorded_at": "", "reason": reason}
        row = body_to_json(letter)
        row["key"] = None if letter.key is None else letter.key.decode(errors="backslashreplace")
        # The record itself may hold what not everybody is to see; `tally dead-letters show` has it.
        for name in ("value", "headers", "stack"):
            del row[name]
        return {"id": id_, **row, "state": letter.state or FAILED}
