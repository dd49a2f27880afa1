"""A topic of a test's own that holds events with all that surrounds them, for replays out of it."""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from getpass import getuser
from typing import Any

from click.testing import Result
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from settled import wait_until_settled
from typer.testing import CliRunner

from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message
from schemas.messages import OrderConfirmed, OrderCreated, OrderLine, OrderShipped, wire_type
from schemas.records import decode_record, encode_record
from schemas.topics import AUDIT_TRAIL, REPLAYS
from tally.cli.__main__ import app
from tally.reading.reader import Reader, Record, whole
from tally.replaying.standing import WISH

CODEC = AvroCodec()
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
NOON_MS = round(NOON.timestamp() * 1_000)
BODIES = (
    OrderCreated("guest", "GBP", (OrderLine(1, "85123A", 6, 255),), 1_530, "card", "tok_ok"),
    OrderConfirmed(),
    OrderShipped(),
)
PARTITIONS = 2
ORDERS = 5


@dataclass
class Source:
    """A topic of the test's own: three events of each of five orders, written by transactions, some of them aborted."""

    kafka: str
    topic: str
    made: list[str] = field(default_factory=list)

    def write(self, orders: int = ORDERS, at_ms: int = NOON_MS) -> None:
        producer = Producer(
            {"bootstrap.servers": self.kafka, "transactional.id": self.topic, "partitioner": "murmur2_random"}
        )
        producer.init_transactions()
        for version, body in enumerate(BODIES, start=1):
            for is_aborted in (True, False):
                producer.begin_transaction()
                for number in range(orders):
                    key, value, headers = encode_record(event(f"o{number}", version, body), CODEC)
                    producer.produce(self.topic, value, key, headers=headers, timestamp=at_ms + version)
                producer.flush()
                producer.abort_transaction() if is_aborted else producer.commit_transaction()
        self._settle(self.topic)

    def write_raw(self, value: bytes, partition: int = 0, headers: list[tuple[str, bytes]] | None = None) -> None:
        producer = Producer({"bootstrap.servers": self.kafka})
        producer.produce(self.topic, value, b"raw", partition, headers=headers or [])
        assert producer.flush(20) == 0

    def wish(self, id_: str, value: bytes) -> None:
        """Bytes where a running replay hears what others wish of it."""
        producer = Producer({"bootstrap.servers": self.kafka, "partitioner": "murmur2_random"})
        producer.produce(REPLAYS, value, f"{id_}{WISH}".encode())
        assert producer.flush(20) == 0

    def another(self) -> str:
        """A name for a topic that is not there; gone after the test."""
        self.made.append(f"copy-{uuid.uuid4().hex[:8]}")
        return self.made[-1]

    def read(self, topic: str) -> list[Record]:
        self._settle(topic)
        with Reader(self.kafka) as reader:
            return [record for record in reader.read(*whole(reader, (topic,))) if record is not None]

    def _settle(self, topic: str) -> None:
        wait_until_settled(AdminClient({"bootstrap.servers": self.kafka}), topic)

    def acts(self, id_: str) -> list[tuple[str, str]]:
        """What was done to a replay of ours, as the audit trail tells: (act, reason)."""
        found = [decode_record(record.headers, record.value, CODEC) for record in self.read(AUDIT_TRAIL)]
        mine = [message.body for message in found if message.envelope.subject == id_]
        assert {(body.by, body.topics) for body in mine} <= {(getuser(), self.topic)}
        return [(body.act, body.reason) for body in mine]

    def run(self, *arguments: str) -> Result:
        """`tally replay …` in this process."""
        environment = {"TALLY_KAFKA_BOOTSTRAP": self.kafka}
        return CliRunner().invoke(app, ["replay", *arguments], env=environment)

    def document(self, *arguments: str) -> dict[str, Any]:
        """What a verb printed as one document, having ended well."""
        result = self.run(*arguments, "-f", "json")
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found


def event(subject: str, version: int, body: Any) -> Message:
    id_ = f"{subject}-{version}"
    return Message(Envelope(id_, wire_type(type(body)), "/t", "orders", subject, version, NOON, "c", "c"), body)


def make_topic(kafka: str, name: str, partitions: int = PARTITIONS, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(30)


def drop_topic(kafka: str, name: str) -> None:
    """Gone when this returns: the broker tells of it a moment after the controller has dropped it."""
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([name])[name].result(30)
    looks = iter(range(200))
    while name in admin.list_topics(timeout=10).topics:
        threading.Event().wait(0.05)
        assert next(looks, None) is not None
