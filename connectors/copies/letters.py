"""Dead letters of changelog records that cannot be read."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError as Error
from confluent_kafka import KafkaException, Message, Producer

from connectors.consuming import KafkaAway, Record
from schemas.codec import Codec
from schemas.envelope import now
from schemas.errors import Undecodable
from schemas.letters import Place, SetAside, dead_letter
from schemas.records import encode_record
from schemas.topics import DEAD_LETTERS

ORIGIN = "sink-copies"
SENT_WITHIN_S = 10.0


class Letters:
    """Sends letters and waits until Kafka has them; the same record gives the same letter, so that twice is once."""

    def __init__(self, bootstrap: str, codec: Codec) -> None:
        self._codec = codec
        self._bootstrap = bootstrap
        # Letters are rare: no connection stands open for them until the first.
        self._producer: Producer | None = None

    def send(self, record: Record, error: Undecodable) -> None:
        """One letter. Raises KafkaAway when Kafka does not take it in time; then it is to be sent again."""
        place = Place(record.topic, record.partition, record.offset)
        letter = dead_letter(ORIGIN, SetAside(place, record.key, record.value, record.headers), error, now())
        key, value, headers = encode_record(letter, self._codec)
        producer, failed = self._connected(), list[str]()

        def delivered(problem: Error | None, _: Message) -> None:
            if problem is not None:
                failed.append(problem.str())

        try:
            producer.produce(DEAD_LETTERS, value, key, headers=headers, on_delivery=delivered)
        except (KafkaException, BufferError) as problem:
            raise KafkaAway(f"dead letter: {problem}") from None
        if producer.flush(SENT_WITHIN_S) or failed:
            raise KafkaAway(f"dead letter: {failed[0] if failed else 'not taken in time'}")

    def _connected(self) -> Producer:
        if self._producer is not None:
            return self._producer
        settings: dict[str, str | int | bool] = {
            "bootstrap.servers": self._bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 0,
            "delivery.timeout.ms": int(SENT_WITHIN_S * 1000),
        }
        self._producer = Producer(settings, logger=logging.getLogger("kafka"))
        return self._producer
