"""Verbs over a real Kafka: topics, publish, consume, groups, dead letters."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from settled import wait_until_settled

from schemas.topics import TOPICS

SMALL = 3


@pytest.fixture
def topic(kafka: str) -> str:
    """A topic of nobody's, with three records on each of two partitions and an aborted one between."""
    name = f"verbs-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result()
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": name})
    producer.init_transactions()
    for number in range(SMALL):
        producer.begin_transaction()
        for partition in range(2):
            producer.produce(
                name, b"v%d" % number, b"k%d" % partition, partition, headers=[("ce_type", b"T%d" % number)]
            )
        producer.commit_transaction()
        producer.begin_transaction()
        producer.produce(name, b"aborted", b"k0", 0)
        producer.flush()
        producer.abort_transaction()
    wait_until_settled(admin, name)
    return name


def lines(result: Any) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_topic_is_made_once_and_then_checked(run: Any, kafka: str) -> None:
    first = run("topics", "create", kafka=kafka)
    assert first.exit_code == 0, first.stderr
    again = run("topics", "create", kafka=kafka)
    assert again.exit_code == 0
    assert again.stderr.startswith("0 topics made")
    there = {row["topic"]: row for row in lines(run("topics", "list", kafka=kafka))}
    assert all(there[name]["there"] for name in TOPICS)
    assert there["orders.events"]["retention"] == "for ever"


def test_partitions_of_a_topic_are_described(run: Any, kafka: str, topic: str) -> None:
    rows = lines(run("topics", "describe", topic, kafka=kafka))
    assert [row["partition"] for row in rows] == [0, 1]
    assert rows[0]["end"] > rows[1]["end"] > 0


def test_a_topic_that_is_not_there_is_not_found(run: Any, kafka: str) -> None:
    for verb in (("topics", "describe", "nowhere"), ("consume", "nowhere", "-e")):
        result = run(*verb, kafka=kafka)
        assert result.exit_code == 3
        assert "no topic nowhere" in result.stderr


def test_committed_records_alone_are_shown_in_order(run: Any, kafka: str, topic: str) -> None:
    rows = lines(run("consume", topic, "-e", "-p", "0", kafka=kafka))
    assert [row["type"] for row in rows] == ["T0", "T1", "T2"]
    assert {
        "topic",
        "partition",
        "offset",
        "timestamp",
        "key",
        "headers",
        "id",
        "type",
        "aggregateId",
        "version",
        "data",
    } <= set(rows[0])
    assert rows[0]["data"] is None
    assert "ce_subject" in rows[0]["undecodable"] or "ce_id" in rows[0]["undecodable"] or "id" in rows[0]["undecodable"]
    assert rows[0]["raw"] == "v0"


@pytest.mark.parametrize(
    ("arguments", "types"),
    [
        (("-n", "2"), ["T0", "T1"]),
        (("-e", "--type", "T1"), ["T1"]),
        (("-o", "0:1"), ["T0"]),
        (("-o", "-1", "-e"), ["T2"]),
        (("-o", "-2", "-e"), ["T1", "T2"]),
        (("-o", "-99", "-e"), ["T0", "T1", "T2"]),
        (("-o", "+1", "-e"), ["T1", "T2"]),
        (("-o", "end", "-e"), []),
        (
            (
                "-o",
                "@1h:0s",
            ),
            ["T0", "T1", "T2"],
        ),
        (("-o", "@1h", "-n", "1"), ["T0"]),
    ],
)
def test_every_place_to_read_from_is_understood(
    run: Any, kafka: str, topic: str, arguments: tuple[str, ...], types: list[str]
) -> None:
    assert [row["type"] for row in lines(run("consume", topic, "-p", "1", *arguments, kafka=kafka))] == types


def test_where_a_group_stands_is_read_and_not_moved(run: Any, kafka: str, topic: str) -> None:
    group = f"group-{topic}"
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, 1, 2)], asynchronous=False)
    consumer.close()
    for _ in range(2):
        rows = lines(run("consume", topic, "-o", "stored", "--group", group, "-p", "1", "-e", kafka=kafka))
        assert [row["type"] for row in rows] == ["T1", "T2"]
    (lag,) = lines(run("groups", "lag", group, kafka=kafka))
    assert (lag["partition"], lag["committed"], lag["lag"]) == (1, 2, 2)
    assert run("groups", "lag", "nobody", kafka=kafka).exit_code == 3


def test_a_key_is_looked_for_in_its_partition_alone(run: Any, kafka: str) -> None:
    run("topics", "create", kafka=kafka)
    key = uuid.uuid4().hex
    sent = lines(
        run(
            "publish",
            "inventory.commands",
            "-k",
            key,
            "--type",
            "RECEIVE_STOCK",
            "--data",
            '{"quantity": 5}',
            kafka=kafka,
        )
    )
    result = run("consume", "inventory.commands", "-k", key, "-e", kafka=kafka)
    (row,) = lines(result)
    assert (row["partition"], row["offset"], row["id"]) == (sent[0]["partition"], sent[0]["offset"], sent[0]["id"])
    assert row["data"] == {"quantity": 5, "reason": None}
    assert row["aggregateId"] == key
    read = re.search(rf"read (\d+) records of inventory.commands/{row['partition']} to show 1$", result.stderr.strip())
    assert read is not None
    assert int(read[1]) >= 1


def test_records_are_printed_by_a_template(run: Any, kafka: str, topic: str) -> None:
    result = run("consume", topic, "-p", "1", "-n", "1", "-f", "%t/%p/%o %k %s %S%%\\n", kafka=kafka)
    assert result.stdout == f"{topic}/1/0 k1 v0 2%\n"
    assert run("consume", topic, "-p", "1", "-n", "1", "-f", "%q", kafka=kafka).exit_code == 2


def test_events_of_ours_are_refused_with_the_command_to_use(run: Any, kafka: str) -> None:
    result = run("publish", "orders.events", "-k", "o1", "--type", "ORDER_CREATED", "--data", "{}", kafka=kafka)
    assert result.exit_code == 2
    assert "tally orders place" in result.stderr
    assert run("publish", "tally-orders-changelog", "-k", "o1", "--type", "X", kafka=kafka).exit_code == 2


@pytest.mark.parametrize(
    ("type_", "data", "says"),
    [
        ("RECEIVE", '{"quantity": 5}', "RECEIVE_STOCK"),
        ("CANCEL_ORDER", '{"reason": "x"}', "does not belong"),
        ("RECEIVE_STOCK", "{}", "needs quantity"),
        ("RECEIVE_STOCK", '{"quantity": "5"}', "whole number"),
        ("RECEIVE_STOCK", '{"quantity": 5, "colour": 1}', "no field colour"),
        ("RECEIVE_STOCK", '{"quantity": 5', "no JSON"),
        ("RECEIVE_STOCK", "[]", "JSON object"),
        ("RECEIVE_STOCK", '{"quantity": 99999999999999999999}', "whole number in range"),
        ("RECEIVE_STOCK", "@/nowhere.json", "No such file"),
    ],
)
def test_a_command_that_does_not_fit_is_refused(run: Any, kafka: str, type_: str, data: str, says: str) -> None:
    result = run("publish", "inventory.commands", "-k", "a", "--type", type_, "--data", data, kafka=kafka)
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_topic_that_is_not_ours_takes_json_from_stdin(run: Any, kafka: str, topic: str) -> None:
    sent = run("publish", topic, "-k", "mine", "--type", "ANYTHING", "--data", "-", kafka=kafka, stdin='{"a": 1}')
    place = lines(sent)[0]
    (row,) = lines(run("consume", topic, "-k", "mine", "-e", kafka=kafka))
    assert (row["type"], row["data"], row["offset"]) == ("ANYTHING", {"a": 1}, place["offset"])


def test_a_topic_that_is_not_there_is_not_published_to(run: Any, kafka: str) -> None:
    result = run("publish", "nowhere", "-k", "mine", "--type", "ANYTHING", kafka=kafka)
    assert result.exit_code == 3
    assert "tally topics create nowhere" in result.stderr
    assert run("publish", "no where", "-k", "mine", "--type", "ANYTHING", kafka=kafka).exit_code == 2


def test_kafka_that_does_not_answer_is_out_of_reach(run: Any) -> None:
    result = run("groups", "list", kafka="127.0.0.1:1")
    assert result.exit_code == 4
    assert "does not answer" in result.stderr


def test_partitions_can_be_chosen_for_strangers_only(run: Any, kafka: str) -> None:
    name = f"verbs-{uuid.uuid4().hex[:8]}"
    assert run("topics", "create", name, "--partitions", "2", kafka=kafka).exit_code == 0
    assert run("topics", "create", f"{name}-other", kafka=kafka).exit_code == 3
    assert run("topics", "create", "orders.events", "--partitions", "2", kafka=kafka).exit_code == 2
