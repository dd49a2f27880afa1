"""Copies of changelogs on a real Kafka and a Valkey that is really killed."""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client import CollectorRegistry

from connectors.copies import CopiesConfig, CopiesMetrics, CopiesSink
from connectors.probes import Health
from schemas.codec import AvroCodec
from schemas.messages import DeadLettered
from schemas.table_versions import Versions, to_value
from schemas.topics import DEAD_LETTERS, TOPICS
from tally.local.valkey import Valkey

WITHIN_S = 60.0
PARTITIONS = 2


class Running:
    """A sink in a thread; leaves the block with what the thread raised."""

    def __init__(self, config: CopiesConfig) -> None:
        self.registry, self.health, self._stop = CollectorRegistry(), Health(), threading.Event()
        self._sink = CopiesSink(config, AvroCodec(), CopiesMetrics(self.registry))
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self._sink.run(self._stop, self.health)
        except BaseException as error:
            self._failed.append(error)

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self._failed == []

    def rows(self, outcome: str) -> float:
        return self.registry.get_sample_value("tally_copies_rows_total", {"table": "orders", "outcome": outcome}) or 0.0


@dataclass
class World:
    """One changelog, one Valkey of our own, one consumer group."""

    config: CopiesConfig
    topic: str
    valkey: Valkey

    def __post_init__(self) -> None:
        self.client = redis.Redis.from_url(self.valkey.url)
        self._producer = Producer(
            {"bootstrap.servers": self.config.bootstrap, "enable.idempotence": True, "partitioner": "murmur2_random"}
        )

    def put(self, key: bytes, row: dict[str, object] | None) -> None:
        self.put_raw(key, None if row is None else orjson.dumps(row))

    def put_raw(self, key: bytes, value: bytes | None) -> None:
        self.send(self.topic, key, value)

    def send(self, topic: str, key: bytes, value: bytes | None) -> None:
        self._producer.produce(topic, value, key)

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def copy(self, key: bytes) -> dict[bytes, bytes]:
        return self.client.hgetall(b"tally:orders:" + key)


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until a question about another thread or process is answered with yes."""
    end_s = time.monotonic() + WITHIN_S
    while True:
        try:
            if holds():
                return
        except redis.ConnectionError:
            pass  # Valkey is away, as the test wants it
        assert time.monotonic() < end_s, f"not within {WITHIN_S} s: {what}"
        time.sleep(0.02)


@pytest.fixture
def world(kafka: str, tmp_path: Path) -> Iterator[World]:
    topic = f"copies-{uuid.uuid4().hex[:10]}"
    admin = AdminClient({"bootstrap.servers": kafka})
    wanted = [NewTopic(topic, PARTITIONS, 1, config={"cleanup.policy": "compact"})]
    if DEAD_LETTERS not in admin.list_topics(timeout=10).topics:
        wanted.append(NewTopic(DEAD_LETTERS, TOPICS[DEAD_LETTERS].partitions, 1, config=TOPICS[DEAD_LETTERS].config))
    for made in admin.create_topics(wanted).values():
        made.result(30)
    server = Valkey(tmp_path)
    server.start()
    config = CopiesConfig(kafka, server.url, tables=("orders",), changelogs={"orders": topic}, group=f"group-{topic}")
    try:
        yield World(config, topic, server)
    finally:
        server.stop()
        admin.delete_topics([topic])[topic].result(30)


def test_a_row_is_copied_with_its_version_and_offset(world: World) -> None:
    world.put(b"o-1", {"id": "o-1", "version": 3})
    world.put(b"\xff \x1f:\x00*", {"id": "any bytes", "version": 1})
    world.flush()
    with Running(world.config):
        until(lambda: bool(world.copy(b"o-1") and world.copy(b"\xff \x1f:\x00*")), "both rows")
    assert world.copy(b"o-1") == {
        b"value": b'{"id":"o-1","version":3}',
        b"version": b"3",
        b"offset": b"0",
        b"table_version": b"1",
    }
    assert orjson.loads(world.copy(b"\xff \x1f:\x00*")[b"value"])["id"] == "any bytes"


def test_a_deleted_row_leaves_its_offset_for_a_time_and_a_later_row_replaces_it(world: World) -> None:
    world.put(b"k", {"version": 1})
    world.put(b"k", None)
    world.flush()
    with Running(world.config) as running:
        until(lambda: running.rows("deleted") == 1, "the deletion")
        assert world.copy(b"k") == {b"table_version": b"1", b"offset": b"1"}
        assert 0 < world.client.ttl(b"tally:orders:k") <= world.config.tombstone_s
        world.put(b"k", {"version": 5})
        world.flush()
        until(lambda: world.copy(b"k").get(b"version") == b"5", "the new row")
        assert world.client.ttl(b"tally:orders:k") == -1


def test_an_older_record_never_overwrites_a_newer_one(world: World) -> None:
    world.put(b"k", {"version": 1})
    world.put(b"k", {"version": 2})
    world.flush()
    with Running(world.config):
        until(lambda: world.copy(b"k").get(b"version") == b"2", "the newer row")
    # A second reader from the beginning: what it brings is older than what is there.
    with Running(CopiesConfig(**{**_fields(world.config), "group": f"other-{world.topic}"})) as running:
        until(lambda: running.rows("older") == 2, "two older records")
    assert world.copy(b"k")[b"offset"] == b"1"
    assert world.copy(b"k")[b"version"] == b"2"


def test_a_copy_in_a_later_form_is_left_alone(world: World) -> None:
    world.client.hset("tally-copies:marks", world.topic, "x")
    with Running(world.config) as running:
        until(lambda: running.health.why_not_ready() is None, "ready")
        until(lambda: world.client.hlen("tally-copies:marks") == 2 + PARTITIONS, "marked")
        world.client.hset(b"tally:orders:k", mapping={"value": "later", "offset": 0, "table_version": 2})
        world.put(b"k", {"version": 9})
        world.flush()
        until(lambda: running.rows("older") == 1, "refused")
    assert world.copy(b"k")[b"value"] == b"later"


def test_a_killed_and_empty_valkey_is_filled_again_while_changes_go_on(world: World) -> None:
    for n in range(300):
        world.put(b"k%d" % n, {"version": 1})
    world.flush()
    with Running(world.config) as running:
        until(lambda: world.client.dbsize() >= 301, "300 rows and the marks")
        world.valkey.kill()
        until(lambda: running.health.why_not_ready() is not None, "the sink notices")
        world.put(b"k7", {"version": 2})
        world.flush()
        assert running.health.why_not_live() is None
        world.valkey.start()
        until(lambda: world.client.dbsize() >= 301 and world.copy(b"k7").get(b"version") == b"2", "all again")
        until(lambda: running.health.why_not_ready() is None, "the sink is ready")


def test_a_flushed_valkey_is_filled_again_also_when_nothing_changes(world: World) -> None:
    for n in range(50):
        world.put(b"k%d" % n, {"version": 1})
    world.flush()
    with Running(world.config):
        until(lambda: world.client.dbsize() >= 51, "50 rows and the marks")
        world.client.flushall()
        until(lambda: world.client.dbsize() >= 51, "50 rows again")


def test_a_restarted_sink_goes_on_where_it_was(world: World) -> None:
    world.put(b"a", {"version": 1})
    world.flush()
    with Running(world.config):
        until(lambda: bool(world.copy(b"a")), "the first row")
    world.put(b"b", {"version": 1})
    world.flush()
    with Running(world.config) as running:
        until(lambda: bool(world.copy(b"b")), "the second row")
        assert (running.rows("written"), running.rows("older")) == (1, 0)


def test_what_another_life_of_the_topic_left_is_removed(world: World) -> None:
    world.client.hset(b"tally:orders:gone", mapping={"value": "{}", "version": "1", "offset": 900, "table_version": 1})
    world.client.set(b"tally:orders_by_customer:gone", "another table's")
    world.put(b"a", {"version": 1})
    world.flush()
    with Running(world.config):
        until(lambda: bool(world.copy(b"a")), "the row")
    assert world.copy(b"gone") == {}
    assert world.client.get(b"tally:orders_by_customer:gone") == b"another table's"


@pytest.fixture
def promoted(world: World) -> Iterator[Callable[[], None]]:
    """Makes a topic of versions and the changelog of version 2, which has other rows; the call promotes it."""
    versions, changelog = f"versions-{world.topic}", f"{world.topic}-v2"
    world.config = dataclasses.replace(world.config, versions=versions)
    admin = AdminClient({"bootstrap.servers": world.config.bootstrap})
    compacted = {"cleanup.policy": "compact"}
    wanted = [NewTopic(versions, 1, 1, config=compacted), NewTopic(changelog, PARTITIONS, 1, config=compacted)]
    for made in admin.create_topics(wanted).values():
        made.result(30)
    world.send(changelog, b"kept", b'{"version":7,"new":true}')
    world.flush()

    def promote() -> None:
        world.send(versions, b"orders", to_value(Versions(2, None, 2)))
        world.flush()

    yield promote
    for deleted in admin.delete_topics([versions, changelog]).values():
        deleted.result(30)


def test_a_promotion_takes_the_former_copies_away_and_brings_those_of_the_new_version(
    world: World, promoted: Callable[[], None]
) -> None:
    for key in (b"kept", b"gone"):
        world.put(key, {"version": 7})
    world.flush()
    with Running(world.config):
        until(lambda: bool(world.copy(b"kept") and world.copy(b"gone")), "the rows of version 1")
        # Built beside, it is not to be seen.
        assert world.copy(b"kept")[b"table_version"] == b"1"
        promoted()
        until(lambda: world.copy(b"kept").get(b"table_version") == b"2", "the rows of version 2")
        assert orjson.loads(world.copy(b"kept")[b"value"]) == {"version": 7, "new": True}
        assert world.copy(b"gone") == {}
        # A worker that is late, or a sink that has not heard of it, cannot bring the former version back.
        world.put(b"gone", {"version": 8})
        world.send(f"{world.topic}-v2", b"last", b'{"version":1}')
        world.flush()
        until(lambda: bool(world.copy(b"last")), "a later row of version 2")
        assert world.copy(b"gone") == {}


def test_a_sink_that_was_away_during_a_promotion_begins_with_the_new_version(
    world: World, promoted: Callable[[], None]
) -> None:
    world.put(b"gone", {"version": 7})
    world.flush()
    with Running(world.config):
        until(lambda: bool(world.copy(b"gone")), "the row of version 1")
    promoted()
    with Running(world.config) as running:
        until(lambda: world.copy(b"kept").get(b"table_version") == b"2", "the rows of version 2")
        assert running.rows("written") == 1
    assert world.copy(b"gone") == {}


def test_a_changelog_record_that_is_no_row_becomes_a_dead_letter(world: World) -> None:
    world.put_raw(b"k", b"no json")
    world.put(b"k", {"version": 2})
    world.flush()
    with Running(world.config) as running:
        until(lambda: bool(world.copy(b"k")), "the row behind it")
        assert running.rows("dead_lettered") == 1
    (letter,) = _letters(world)
    assert (letter.key, letter.value, letter.error) == (b"k", b"no json", "Undecodable")


def _letters(world: World) -> list[DeadLettered]:
    consumer = Consumer(
        {
            "bootstrap.servers": world.config.bootstrap,
            "group.id": f"letters-{world.topic}",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    consumer.subscribe([DEAD_LETTERS])
    found, ends = [], 0
    partitions = len(consumer.list_topics(DEAD_LETTERS, timeout=10).topics[DEAD_LETTERS].partitions)
    while ends < partitions:
        message = consumer.poll(WITHIN_S)
        assert message is not None
        if message.error():
            ends += 1
        elif message.value() and (letter := AvroCodec().decode(message.value())).topic == world.topic:
            found.append(letter)
    consumer.close()
    return found


def _fields(config: CopiesConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in CopiesConfig.__dataclass_fields__}
