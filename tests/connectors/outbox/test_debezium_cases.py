"""Recorded inputs and outputs of Debezium 3.6.3: every `must` case of the profiles whose options we know comes out the same."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from connectors.outbox import DebeziumPlacement

CASES = Path(__file__).parent / "debezium_cases.json"
# The other profiles expand JSON, make an envelope, or hold quirks alone.
SUPPORTED = (
    "text_string",
    "json_string",
    "headers",
    "partition_col",
    "ts_timestamp3",
    "tombstone",
    "route_replacement",
    "key_field",
    "bigint_key_json",
    "op_error",
    "snapshot_no_data",
)
PREFIX = "transforms.outbox."
LARGE = 4096


def profile_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(p for p in orjson.loads(CASES.read_bytes())["profiles"] if p["name"] == name)
    return found


def routing_of(config: dict[str, str], prefix: str) -> dict[str, Any]:
    """Debezium's option names to ours; topics get a prefix of this test's own."""
    ours = {
        "table.field.event.id": "id_field",
        "table.field.event.key": "key_field",
        "table.field.event.timestamp": "timestamp_field",
        "table.op.invalid.behavior": "invalid_operation",
        "route.topic.replacement": "route_replacement",
    }
    rules: dict[str, Any] = {ours[o]: config[PREFIX + o] for o in ours if PREFIX + o in config}
    rules["route_replacement"] = prefix + rules.get("route_replacement", "outbox.event.${routedByValue}")
    rules["placements"] = DebeziumPlacement.parse_list(config.get(PREFIX + "table.fields.additional.placement", ""))
    rules["tombstone_on_empty_payload"] = config.get(PREFIX + "route.tombstone.on.empty.payload") == "true"
    return rules


class Steps:
    """Runs a case's steps: SQL, one transaction (a list), SQL of a numbered connection, a pause, a restart."""

    def __init__(self, outbox: Any, changes: dict[str, Any]) -> None:
        self.outbox, self.changes = outbox, changes
        self.running = outbox.start(**changes).until_ready()
        self.connections: dict[int, psycopg.Connection[Any]] = {}

    def run(self, step: Any) -> None:
        if isinstance(step, str):
            self._connection(0).execute(step.encode())
        elif isinstance(step, list):
            with self._connection(0).transaction():
                for statement in step:
                    self._connection(0).execute(statement.encode())
        elif "sql" in step:
            self._connection(step["conn"]).execute(step["sql"].encode())
        elif "sleep" in step:
            time.sleep(step["sleep"])  # as recorded: not to wait for anything of ours
        else:
            assert self.running.end() == 0
            for statement in step["while_down"]:
                self.run(statement)
            self.running = self.outbox.start(**self.changes).until_ready()

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()

    def _connection(self, number: int) -> psycopg.Connection[Any]:
        if number not in self.connections:
            self.connections[number] = psycopg.connect(self.outbox.url, autocommit=True)
        return self.connections[number]


def text_of(content: bytes | None) -> Any:
    if content is None:
        return None
    if len(content) > LARGE:
        return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return {"s": content.decode()}


@pytest.mark.parametrize("name", SUPPORTED)
def test_every_must_case_comes_out_as_from_debezium(name: str, bare_outbox: Any) -> None:
    profile, prefix = profile_of(name), bare_outbox.name + "."
    cases = [case for case in profile["cases"] if case["kind"] == "must"]
    expected = [(case["name"], record) for case in cases for record in case["debezium"]["records"]]
    for topic in {record["topic"] for _, record in expected}:
        bare_outbox.create_topic(topic, 4)
    bare_outbox.sql(*profile["ddl"], *profile.get("before", []))
    changes = {
        "table": profile["table"],
        "routing": routing_of(profile["config"], prefix),
        "snapshot": profile["config"].get("snapshot.mode", "initial"),
    }
    steps = Steps(bare_outbox, changes)
    try:
        for case in cases:
            for step in case["steps"]:
                steps.run(step)
        found = bare_outbox.until_read(len(expected))
        assert steps.running.end() == 0
    finally:
        steps.close()
    assert len(found) == len(expected)
    assert differences(expected, found, prefix) == []


def differences(expected: list[Any], found: list[Any], prefix: str) -> list[Any]:
    """Records that differ, with their case; order is compared within each partition, null keys may lie anywhere."""
    places: dict[Any, list[Any]] = defaultdict(list)
    for record in found:
        anywhere = record.key() is None
        places[(record.topic().removeprefix(prefix), "any" if anywhere else record.partition())].append(record)
    wrong = []
    for case, want in expected:
        record = (
            places[(want["topic"], want["partition"])].pop(0) if places[(want["topic"], want["partition"])] else None
        )
        got = None if record is None else as_recorded(record)
        if got is None or any(got[part] != want[part] for part in ("key", "value", "headers")):
            wrong.append((case, want, got))
        elif want["timestamp"] != "now" and record.timestamp()[1] != want["timestamp"]:
            wrong.append((case, want["timestamp"], record.timestamp()))
    return wrong


def as_recorded(record: Any) -> dict[str, Any]:
    headers = [[name, text_of(content)] for name, content in record.headers() or []]
    return {"key": text_of(record.key()), "value": text_of(record.value()), "headers": headers}
