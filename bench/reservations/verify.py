"""Checks a finished run: one outcome a reservation, equal to a sequential fold, and the changelog is the fold's end."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from bench.reservations.avro import PREFIX
from bench.reservations.work import FORMS, NOTHING, OUTCOME, PARTITIONS, Stock, decide

GRAB = 10_000
_SCHEMA = fastavro.parse_schema(OUTCOME)


def differences(bootstrap: str, source: str, target: str, changelog: str, form_name: str, count: int) -> list[str]:
    """What is wrong, at most one line a kind; empty when all is right. `count`: the reservations."""
    form = FORMS[form_name]
    # An answer as one number: the version, and whether it was granted. 0: none seen.
    expected, found = array("q", bytes(8 * count)), array("q", bytes(8 * count))
    state: dict[str, Stock] = {}
    for message in read(bootstrap, source):
        command = form.read_command(message.value())
        state[command["sku"]], granted = decide(state.get(command["sku"], NOTHING), command)
        if command["id"] >= 0:
            expected[command["id"]] = 2 * state[command["sku"]][2] + granted + 1
    # Not by the worker's own code: what it writes must be what others read.
    read_outcome = _fastavro if form_name == "avro" else form.read_outcome
    twice = 0
    for message in read(bootstrap, target):
        outcome = read_outcome(message.value())
        twice += found[outcome["id"]] != 0
        found[outcome["id"]] = 2 * outcome["version"] + (outcome["outcome"] == "RESERVED") + 1
    rows = {m.key().decode(): form.read_stock(m.value()) for m in read(bootstrap, changelog) if m.value() is not None}
    wrong = []
    if twice:
        wrong.append(f"{twice} outcomes more than once")
    if found != expected:
        missing = sum(not answer for answer in found)
        other = sum(a != b for a, b in zip(found, expected, strict=True)) - missing
        wrong.append(f"{missing} outcomes missing, {other} others than the fold's")
    if rows != state:
        wrong.append(f"{sum(rows.get(sku) != stock for sku, stock in state.items())} rows differ from the fold's")
    return wrong


def _fastavro(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = fastavro.schemaless_reader(BytesIO(data[len(PREFIX) :]), _SCHEMA, None)
    return found


def read(bootstrap: str, topic: str) -> Iterator[Message]:
    """What a read_committed reader sees, from the beginning to the present end; order holds within a partition."""
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "verify",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    open_ones = set(range(PARTITIONS))
    try:
        while open_ones:
            for message in reader.consume(GRAB, 1.0):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_ones.discard(message.partition())
    finally:
        reader.close()
