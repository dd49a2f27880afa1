"""Recorded inputs and outputs of Debezium 3.6.3: every `must` comes out the same, every `quirk` as the documents say."""

from __future__ import annotations

import hashlib
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from connectors.outbox import OutboxConfig
from connectors.outbox.debezium import Overrides, debezium_config
from connectors.outbox.debezium_file import Options
from connectors.outbox.errors import TableUnfit, UnsendableRow

CASES = Path(__file__).parent / "debezium_cases.json"
PROFILES = {profile["name"]: profile for profile in orjson.loads(CASES.read_bytes())["profiles"]}
LARGE = 4096


def config_of(profile: dict[str, Any], outbox: Any) -> OutboxConfig:
    """The connector that the profile's options make, as a file would; topics get a prefix of this test's own."""
    options = {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "plugin.name": "pgoutput",
        "topic.prefix": profile["name"],
        "table.include.list": f"public.{profile['table']}",
        "slot.name": outbox.name,
        "publication.name": outbox.name,
        "publication.autocreate.mode": "filtered",
        "tombstones.on.delete": False,
        "transforms": "outbox",
        "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
        "topic.creation.default.partitions": 4,
    }
    options |= profile["config"]
    route = options.get("transforms.outbox.route.topic.replacement", "outbox.event.${routedByValue}")
    options["transforms.outbox.route.topic.replacement"] = f"{outbox.name}.{route}"
    content = {"name": outbox.name, "config": options}
    return debezium_config(Options.of(content, "the profile"), Overrides(outbox.url, outbox.bootstrap))


class Steps:
    """Runs a case's steps: SQL, one transaction (a list), SQL of a numbered connection, a pause, a restart."""

    def __init__(self, outbox: Any, config: OutboxConfig) -> None:
        self.outbox, self.config = outbox, config
        self.running = outbox.start_with(config).until_ready()
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
            self.running = self.outbox.start_with(self.config).until_ready()

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
    try:
        return {"s": content.decode()}
    except UnicodeDecodeError:
        return {"hex": content.hex()}


def outcome(profile: dict[str, Any], cases: list[Any], outbox: Any, expected: int) -> list[Any]:
    """What comes out of the cases' steps, run one after the other."""
    outbox.sql(*profile["ddl"], *profile.get("before", []))
    steps = Steps(outbox, config_of(profile, outbox))
    try:
        for case in cases:
            for step in case["steps"]:
                steps.run(step)
        found: list[Any] = outbox.until_read(expected)
        assert steps.running.end() == 0
    finally:
        steps.close()
    assert len(found) == expected
    return found


@pytest.mark.parametrize("name", [name for name, p in PROFILES.items() if any(c["kind"] == "must" for c in p["cases"])])
def test_every_must_case_comes_out_as_from_debezium(name: str, bare_outbox: Any) -> None:
    profile, prefix = PROFILES[name], bare_outbox.name + "."
    cases = [case for case in profile["cases"] if case["kind"] == "must"]
    expected = [(case["name"], record) for case in cases for record in case["debezium"]["records"]]
    found = outcome(profile, cases, bare_outbox, len(expected))
    assert differences(expected, found, prefix) == []


def recorded(value: str) -> dict[str, str]:
    return {"s": value}


# Where a quirk's record comes out otherwise here, or where Debezium makes none: (profile, case) -> the value.
BETTER_VALUES = {
    ("byte_key", "string key with ByteArrayConverter"): '{"a": 1}',
    ("jsonb_expand_optional", "empty array member"): '{"a":[],"b":1}',
    ("jsonb_expand_optional", "top-level array of unlike objects"): '[{"a":1},{"b":"x"}]',
    ("jsonb_expand_optional", "top-level array of numbers"): "[1,2,3]",
    ("jsonb_expand_optional", "empty top-level array"): "[]",
    ("jsonb_expand_optional", "array of strings and numbers"): '{"a":[1,"x"]}',
    ("jsonb_expand_optional", "array int and float"): '{"a":[1,2.5]}',
    ("jsonb_expand_optional", "array of unlike objects"): '{"a":[{"x":1},{"y":"s"}]}',
    ("jsonb_expand_optional", "scalar number"): "5",
    ("jsonb_expand_optional", "scalar string"): '"text"',
    ("jsonb_expand_optional", "scalar true"): "true",
    ("jsonb_expand_optional", "json null"): "null",
    ("jsonb_expand_optional", "beyond 64 bit"): '{"a":9223372036854775808}',
    ("jsonb_expand_optional", "many digits"): '{"a":1.23456789012345678901234567890}',
    ("jsonb_expand_optional", "big exponent"): '{"a":1' + "0" * 300 + "}",
    ("bytea_string", "bytes"): "\x00\xff\x10\xfe",
    ("bytea_string", "utf-8 bytes"): '{"a":1}',
    ("bytea_string", "empty"): "",
}
# No record at all of these, here as there, and the connector stops with a reason: a row without a topic that can exist.
STOPPING = {("text_string", "illegal topic name"), ("missing_extra_error", "placed column does not exist")}


@pytest.mark.parametrize(
    "name", [name for name, p in PROFILES.items() if any(c["kind"] == "quirk" for c in p["cases"])]
)
def test_every_quirk_comes_out_as_documented(name: str, bare_outbox: Any) -> None:
    profile, prefix = PROFILES[name], bare_outbox.name + "."
    cases = [c for c in profile["cases"] if c["kind"] == "quirk" and (name, c["name"]) not in STOPPING]
    if not cases:
        return
    expected = [(case["name"], record) for case in cases for record in documented(name, case)]
    found = outcome(profile, cases, bare_outbox, len(expected))
    assert differences(expected, found, prefix) == []


def documented(profile: str, case: dict[str, Any]) -> list[dict[str, Any]]:
    """The records that we make of a quirk: Debezium's but for heartbeats, with the value that carries the whole payload."""
    better = BETTER_VALUES.get((profile, case["name"]))
    records = [
        record for record in case["debezium"]["records"] if not record["topic"].startswith("__debezium-heartbeat")
    ]
    if better is None:
        return records
    value = {"hex": better.encode("latin-1").hex()} if "\xff" in better else recorded(better)
    if records:
        return [record | {"value": value} for record in records]
    # The task died there; topic, key and header are those of the insert.
    row_id = re.findall(r"00000000-[0-9a-f-]{27}", str(case["steps"]))[0]
    record = {"topic": "outbox.event.order", "partition": 1, "key": recorded("k1"), "value": value}
    return [record | {"headers": [["id", recorded(row_id)]], "timestamp": "now"}]


def test_a_row_without_a_legal_topic_stops_with_its_reason(bare_outbox: Any) -> None:
    profile = PROFILES["text_string"]
    case = next(case for case in profile["cases"] if case["name"] == "illegal topic name")
    bare_outbox.sql(*profile["ddl"])
    steps = Steps(bare_outbox, config_of(profile, bare_outbox))
    try:
        steps.run(case["steps"][0])
        assert steps.running.exit_code() == UnsendableRow.exit_code
    finally:
        steps.close()


def test_a_placed_column_that_does_not_exist_is_refused_at_the_start(bare_outbox: Any) -> None:
    profile = PROFILES["missing_extra_error"]
    bare_outbox.sql(*profile["ddl"])
    assert bare_outbox.start_with(config_of(profile, bare_outbox)).exit_code() == TableUnfit.exit_code


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
