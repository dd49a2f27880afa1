"""Replays over a real Kafka, by their verbs: into a topic, a file, onto the screen; bounds, pauses, how they stand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from replay_source import BODIES, CODEC, NOON_MS, ORDERS, PARTITIONS, Source, event, make_topic

from schemas.partitioning import partition_of
from schemas.topics import EVENT_TOPICS, REPLAYS
from tally.reading.groups import names
from tally.reading.reader import committed
from tally.reading.rows import to_row
from tally.replaying.topics import ID_HEADER, ORIGIN_HEADER

ALL = ORDERS * len(BODIES)


def origins(source: Source, topic: str) -> Counter[str]:
    """How often each record of the source stands in a topic."""
    found: Counter[str] = Counter()
    for record in source.read(topic):
        origin = dict(record.headers)[ORIGIN_HEADER]
        assert origin is not None
        found[origin.decode()] += 1
    return found


def stand(source: Source, at: int) -> str:
    """A group that has read so far in each partition of the source."""
    group = f"live-{source.topic}"
    consumer = Consumer({"bootstrap.servers": source.kafka, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(source.topic, n, at) for n in range(PARTITIONS)], asynchronous=False)
    consumer.close()
    return group


def places(source: Source) -> set[str]:
    return {f"{r.topic}/{r.partition}/{r.offset}" for r in source.read(source.topic)}


def test_a_replay_into_a_topic_copies_each_record_once_as_it_is(source: Source, id_: str) -> None:
    copy = source.another()
    group = stand(source, at=3)
    before = set(names(source.kafka))
    told = source.document("run", source.topic, "--into", f"topic:{copy}", "--yes", "--id", id_, "--reason", "a test")
    assert (told["state"], told["written"], told["left"], told["reason"]) == ("DONE", ALL, 0, "a test")
    assert origins(source, copy) == Counter(places(source))
    first, second = source.read(source.topic), source.read(copy)
    added = (ID_HEADER, ORIGIN_HEADER)
    assert sorted(
        (r.partition, r.key, r.value, r.timestamp_ms, [h for h in r.headers if h[0] not in added]) for r in second
    ) == sorted((r.partition, r.key, r.value, r.timestamp_ms, r.headers) for r in first)
    assert source.acts(id_) == [("START", "a test")]
    # Nobody's group was made or moved.
    assert set(names(source.kafka)) <= before
    admin = AdminClient({"bootstrap.servers": source.kafka})
    assert committed(admin, group) == {(source.topic, 0): 3, (source.topic, 1): 3}


def test_a_file_of_lines_holds_what_consume_prints(written: Source, lines: Path, id_: str) -> None:
    written.document("run", written.topic, "--into", f"file:{lines}", "--id", id_)
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert {row["offset"] for row in rows if row["partition"] == 0}
    expected = [to_row(record, CODEC) for record in written.read(written.topic)]
    assert sorted(rows, key=place) == sorted(expected, key=place)


def test_a_container_is_read_by_the_avro_library_alone(written: Source, tmp_path: Path, id_: str) -> None:
    path = tmp_path / "orders.avro"
    written.document("run", written.topic, "--into", f"file:{path}", "--id", id_)
    with path.open("rb") as file:
        found = list(fastavro.reader(file, return_record_name=True))
    assert len(found) == ALL
    created = next(row for row in found if row["type"] == "ORDER_CREATED")
    name, data = created["data"]
    assert (name, data["total_minor"], data["lines"][0]["sku"]) == ("tally.orders.OrderCreated", 1_530, "85123A")
    assert (created["version"], created["timestamp"].timestamp() * 1_000) == (1, NOON_MS + 1)


def test_onto_the_screen_come_the_records_alone(written: Source, id_: str) -> None:
    result = written.run("run", written.topic, "--type", "ORDER_SHIPPED", "--id", id_, "-f", "%{key} %{type}\\n")
    assert result.exit_code == 0
    assert sorted(result.stdout.splitlines()) == [f"o{number} ORDER_SHIPPED" for number in range(ORDERS)]
    assert f"replay {id_}: DONE" in result.stderr


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (["-k", "o1"], 3),
        (["-k", "o1", "-k", "o2"], 6),
        (["--type", "ORDER_CREATED", "--type", "ORDER_SHIPPED"], 10),
        (["--from-version", "2"], 10),
        (["--from-version", "2", "--to-version", "2"], 5),
        (["-k", "o3", "--to-version", "2", "--type", "ORDER_CONFIRMED"], 1),
        (["--from", "2026-11-25T12:00:00.002Z", "--to", "2026-11-25T12:00:00.003Z"], 5),
        (["-o", "@2026-11-25T12:00:00.003Z"], 5),
        (["-n", "4"], 4),
        (["-o", "end"], 0),
    ],
)
def test_every_bound_means_in_a_plan_and_a_run_what_it_says(
    written: Source, id_: str, given: list[str], count: int
) -> None:
    told = written.document("plan", written.topic, *given)
    shown = written.run("run", written.topic, *given, "--id", id_, "-f", "%{key}\\n")
    assert (shown.exit_code, len(shown.stdout.splitlines())) == (0, count)
    assert told["meant"] == count
    if "-k" in given and len(given) == 2:
        assert [each["partition"] for each in told["ranges"]] == [partition_of(b"o1", 2)]


@pytest.mark.parametrize(
    ("offset", "meant"),
    [
        ("8", lambda offsets: [each for each in offsets if each >= 8]),
        ("+8", lambda offsets: [each for each in offsets if each >= 8]),
        ("4:12", lambda offsets: [each for each in offsets if 4 <= each < 12]),
        ("-2", lambda offsets: offsets[-2:]),
    ],
)
def test_offsets_bound_each_partition(
    written: Source, lines: Path, offset: str, meant: Callable[[list[int]], list[int]]
) -> None:
    written.document("run", written.topic, "-o", offset, "--into", f"file:{lines}")
    found = sorted((row["partition"], row["offset"]) for row in map(json.loads, lines.read_text().splitlines()))
    there = [(record.partition, record.offset) for record in written.read(written.topic)]
    assert found == [
        (number, each)
        for number in range(PARTITIONS)
        for each in meant(sorted(offset for partition, offset in there if partition == number))
    ]
    assert 0 < len(found) < ALL


def test_a_plan_shows_offsets_counts_target_and_writes_nothing(written: Source) -> None:
    copy = written.another()
    told = written.document("plan", written.topic, "--into", f"topic:{copy}", "--rate", "5")
    assert told["into"] == f"topic:{copy}, to be made with 2 partitions, kept for ever"
    assert {row["type"]: row["count"] for row in told["counts"]} == dict.fromkeys(
        ("ORDER_CREATED", "ORDER_CONFIRMED", "ORDER_SHIPPED"), ORDERS
    )
    assert sum(each["end"] - each["start"] for each in told["ranges"]) > told["read"] == ALL
    assert (told["seconds"], told["side_effects"]) == (3.0, [])
    assert written.run("topics", "describe", copy).exit_code != 0
    table = written.run("plan", written.topic, "--into", f"topic:{copy}", "-f", "table").stdout
    assert "15 of 15 records into" in table
    assert "side effects: none" in table


def test_a_dry_run_folds_what_is_meant(written: Source) -> None:
    told = written.document("run", written.topic, "--dry-run")
    assert told["meant"] == ALL
    assert told["rows"] == {}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["-o", "first"], "is no offset"),
        (["-o", "999999"], "lies beyond every end"),
        (["-o", "@2999-01-01"], "lies in the future"),
        (["--from", "soon"], "--from soon: no moment"),
        (["--from", "1h", "--to", "2h"], "lies before --from"),
        (["--to", "99999999999999999999"], "no moment that a calendar knows"),
        (["-o", "5", "--from", "1h"], "the same in two ways"),
        (["-k", ""], "-k is empty"),
        (["-p", "7"], "-p 7"),
        (["-k", "o1", "-p", str(1 - partition_of(b"o1", 2))], "these keys lie in partition"),
        (["--type", "ORDER_EATEN"], "--type ORDER_EATEN: no message of ours"),
        (["--from-version", "0"], "versions count from 1"),
        (["--from-version", "3", "--to-version", "2"], "lies before --from-version"),
        (["-n", "0"], "-n 0"),
        (["--rate", "0"], "--rate 0"),
        (["--into", "nowhere"], "--into nowhere"),
        (["--into", "file:/"], "is a folder"),
        (["--into", "file:/no/such/folder/x"], "is no folder"),
        (["--into", "topic:a b"], "no name that Kafka takes"),
        (["--into", "topic:__consumer_offsets"], "written by the system alone"),
        (["--into", f"topic:{REPLAYS}"], "written by the system alone"),
        (["--into", "topic:inventory.commands"], "say --side-effects inventory.commands"),
        (["--into", "topic:inventory.commands", "--side-effects", "inventory.commands"], "say --type"),
        (["--into", "topic:x", "--side-effects", "inventory.commands"], "does not go there"),
        (["--side-effects", "inventory.commands"], "has none"),
        *((["--into", f"topic:{topic}"], "holds events") for topic in EVENT_TOPICS),
    ],
)
def test_what_cannot_be_is_named_with_exit_code_2(written: Source, given: list[str], says: str) -> None:
    result = written.run("plan", written.topic, *given)
    assert (result.exit_code, says in result.stderr) == (2, True), result.output


def test_a_topic_is_not_replayed_into_itself_or_where_records_would_be_dropped(source: Source) -> None:
    result = source.run("plan", source.topic, "--into", f"topic:{source.topic}")
    assert (result.exit_code, "replayed itself" in result.stderr) == (2, True)
    short = source.another()
    make_topic(source.kafka, short, **{"retention.ms": "3600000"})
    source.write(at_ms=1)
    result = source.run("plan", source.topic, "--into", f"topic:{short}")
    assert (result.exit_code, "would drop older records" in result.stderr) == (2, True), result.output


def test_unknown_topics_and_replays_are_not_found_and_changelogs_are_none(written: Source) -> None:
    assert written.run("plan", "nowhere").exit_code == 3
    for verb in (("status", "nobody"), ("pause", "nobody"), ("forget", "nobody"), ("run", "--resume", "nobody")):
        assert written.run(*verb).exit_code == 3
    result = written.run("plan", "tally-orders-changelog")
    assert (result.exit_code, "holds no messages" in result.stderr) == (2, True)


def test_a_file_that_is_there_is_never_written_over(written: Source, lines: Path) -> None:
    lines.write_text("mine")
    result = written.run("run", written.topic, "--into", f"file:{lines}")
    assert (result.exit_code, lines.read_text()) == (2, "mine")


def test_a_topic_is_written_to_only_after_a_yes(written: Source) -> None:
    copy = written.another()
    result = written.run("run", written.topic, "--into", f"topic:{copy}")
    assert (result.exit_code, "say --yes" in result.stderr) == (2, True)


def test_what_cannot_be_read_is_counted_named_and_not_replayed(source: Source, lines: Path, id_: str) -> None:
    headers = event("o1", 4, BODIES[2]).envelope.headers()
    source.write_raw(b"no headers")
    source.write_raw(b"\x00\x00\x00\x00\x07", headers=headers)
    source.write_raw(CODEC.encode(BODIES[0])[:-1], headers=headers)
    source.write_raw(CODEC.encode(BODIES[2]) + b"\x00", headers=headers)
    assert source.run("plan", source.topic).exit_code == 5
    result = source.run("run", source.topic, "--into", f"file:{lines}", "--id", id_, "-f", "json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["state"], told["written"], told["unreadable"]) == (5, "DONE", ALL, 4)
    named = "\n".join(told["faults"])
    assert named.count(f"{source.topic}/0/") == 4
    for reason in ("header", "schema id 7", "schema id"):
        assert reason in named
    assert len(lines.read_text().splitlines()) == ALL
    assert result.stderr.count("FAULT") == 4


def place(row: dict[str, Any]) -> tuple[str, int, int]:
    return row["topic"], row["partition"], row["offset"]
