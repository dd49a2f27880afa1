"""What the API reaches over the network: Kafka, Valkey, the workers."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import orjson
import pytest
import redis
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from producers.api.copies import NoCopies, ValkeyCopies
from producers.api.owners import KafkaOwners, OwnersUnknown, ownership_of
from producers.api.sending import KafkaCommands, NotSent
from producers.api.workers import HttpWorkers, NotTheOwner, Unanswered
from producers.orders.service import Origin, command_message
from schemas.codec import AvroCodec
from schemas.envelope import now
from schemas.messages import ReceiveStock
from schemas.partitioning import partition_of
from schemas.records import decode_record

CODEC = AvroCodec()
COMMAND = command_message(Origin("anybody", "POST /x", "k"), "inventory", "85123A", ReceiveStock(3), now())


@pytest.fixture
def topic(kafka: str) -> Iterator[str]:
    admin, name = AdminClient({"bootstrap.servers": kafka}), f"api-{uuid.uuid4().hex[:8]}"
    admin.create_topics([NewTopic(name, num_partitions=4, replication_factor=1)])[name].result(30)
    yield name
    admin.delete_topics([name])[name].result(30)


def test_a_command_is_kept_in_the_partition_of_its_key(kafka: str, topic: str) -> None:
    commands = KafkaCommands(kafka, CODEC)
    asyncio.run(commands.send(topic, COMMAND))
    commands.close()
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": topic})
    consumer.assign([TopicPartition(topic, partition_of(b"85123A", 4), 0)])
    record = consumer.poll(20)
    consumer.close()
    assert record is not None
    assert decode_record(record.headers(), record.value(), CODEC) == COMMAND


def test_a_command_that_kafka_does_not_take_is_reported(topic: str) -> None:
    commands = KafkaCommands("127.0.0.1:1", CODEC)
    with pytest.raises(NotSent):
        asyncio.run(commands.send(topic, COMMAND))
    commands.close()


def test_the_owner_of_a_partition_is_told_by_the_group(kafka: str, topic: str) -> None:
    settings = {"bootstrap.servers": kafka, "group.id": topic, "client.id": "tally-worker-0@127.0.0.1:6066"}
    consumer = Consumer(settings)
    assigned: list[Any] = []
    consumer.subscribe([topic], on_assign=lambda _, partitions: assigned.extend(partitions))
    for _ in range(300):
        consumer.poll(0.1)
        if assigned:
            break
    found = asyncio.run(KafkaOwners(AdminClient({"bootstrap.servers": kafka}), topic).find())
    consumer.close()
    assert found.workers == ("127.0.0.1:6066",)
    assert dict(found.by_partition) == dict.fromkeys(range(4), "127.0.0.1:6066")


def test_a_kafka_out_of_reach_is_told() -> None:
    with pytest.raises(OwnersUnknown):
        asyncio.run(KafkaOwners(AdminClient({"bootstrap.servers": "127.0.0.1:1"}), "nobody").find())


def test_members_that_are_no_workers_own_nothing() -> None:
    def member(client_id: str, *partitions: int) -> Any:
        assignment = SimpleNamespace(topic_partitions=[SimpleNamespace(partition=p) for p in partitions])
        return SimpleNamespace(client_id=client_id, assignment=assignment)

    found = ownership_of([member("tally-worker-10@b:2", 1), member("tally-worker-2@a:1", 0, 2), member("rdkafka", 3)])
    assert found.by_partition == {1: "b:2", 0: "a:1", 2: "a:1"}
    assert found.workers == ("a:1", "b:2")


def test_a_copy_counts_when_its_version_is_reached(valkey: str) -> None:
    client, key = redis.Redis.from_url(valkey), uuid.uuid4().hex
    client.hset(f"tally:orders:{key}", mapping={"value": b'{"id": "1", "version": 3}', "version": 3, "offset": 17})
    client.hset(f"tally:orders:{key}-gone", mapping={"offset": 18})

    async def look() -> list[Any]:
        copies = ValkeyCopies(valkey, within_s=20)
        found = [await copies.find("orders", key, version) for version in (None, 3, 4)]
        found += [await copies.find("orders", name, None) for name in (f"{key}-gone", f"{key}-never")]
        await copies.aclose()
        return found

    row = {"id": "1", "version": 3}
    assert asyncio.run(look()) == [row, row, None, None, None]
    client.delete(f"tally:orders:{key}", f"tally:orders:{key}-gone")
    client.close()


def test_without_valkey_there_is_no_copy() -> None:
    async def look() -> list[Any]:
        away = ValkeyCopies("redis://127.0.0.1:1/0")
        found = [await away.find("orders", "1", None), await NoCopies().find("orders", "1", None)]
        await away.aclose()
        return found

    assert asyncio.run(look()) == [None, None]


class Worker(BaseHTTPRequestHandler):
    """Answers as a worker would; the key says how."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        key = unquote(path.rsplit("/", 1)[-1])
        status = int(key) if key.isdigit() else 200
        document = {"items": [{"key": query}], "next": None} if path.count("/") == 2 else {"key": key, "value": {}}
        body = {"html": b"<html>", "list": b"[]", "other": b'{"ok": true}'}.get(key) or orjson.dumps(document)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def worker() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Worker)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_worker_is_asked_by_http(worker: str) -> None:
    async def ask() -> None:
        workers = HttpWorkers()
        try:
            row = await workers.get(worker, "orders_by_customer", "guest\x1fa/b?c", 1, 10)
            assert row == {"key": "guest\x1fa/b?c", "value": {}}
            assert await workers.get(worker, "orders", "404") is None
            with pytest.raises(NotTheOwner):
                await workers.get(worker, "orders", "421")
            with pytest.raises(Unanswered):
                await workers.get(worker, "orders", "503")
            for foreign in ("html", "list", "other"):
                with pytest.raises(Unanswered, match="no worker of ours"):
                    await workers.get(worker, "orders", foreign)
                with pytest.raises(Unanswered, match="no worker of ours"):
                    await workers.scan(worker, foreign, "", None, 5)
            page = await workers.scan(worker, "orders", "g\x1f", "c1", 5)
            assert page is not None
            assert page.items == [{"key": "prefix=g%1F&limit=5&cursor=c1"}]
            with pytest.raises(Unanswered, match="ConnectError"):
                await workers.get("127.0.0.1:1", "orders", "x")
        finally:
            await workers.aclose()

    asyncio.run(ask())
