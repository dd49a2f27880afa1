"""A Debezium connector's JSON: honoured option by option, and refused by name where it says what we do not know."""

import json
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from connectors.outbox.config import DebeziumPlacement, Form, OutboxConfig, Rename
from connectors.outbox.debezium import Overrides, debezium_config
from connectors.outbox.debezium_file import Options
from connectors.outbox.errors import BadOption

ROUTER = "io.debezium.transforms.outbox.EventRouter"
JSON = "org.apache.kafka.connect.json.JsonConverter"
OPTIONS: dict[str, Any] = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "tasks.max": "1",
    "plugin.name": "pgoutput",
    "database.hostname": "db",
    "database.port": "5433",
    "database.user": "carrier",
    "database.password": "p w'd",
    "database.dbname": "shop",
    "database.sslmode": "require",
    "topic.prefix": "shop",
    "slot.name": "outbox_slot",
    "publication.name": "outbox_pub",
    "publication.autocreate.mode": "filtered",
    "table.include.list": "sales.outbox",
    "heartbeat.interval.ms": "10000",
    "tombstones.on.delete": False,
    "poll.interval.ms": 50,
    "transforms": "route",
    "transforms.route.type": ROUTER,
}


def config(*left_out: str, given: Overrides | None = None, **changes: Any) -> OutboxConfig:
    """Option names with `__` for the point."""
    options = {name: value for name, value in OPTIONS.items() if name not in left_out}
    options |= {name.replace("__", "."): value for name, value in changes.items()}
    return debezium_config(
        Options.of({"name": "shop-outbox", "config": options}, "a test"), given or Overrides(bootstrap="kafka:9092")
    )


def test_the_whole_file_becomes_a_configuration() -> None:
    found = config()
    assert (found.name, found.slot, found.publication) == ("shop-outbox", "outbox_slot", "outbox_pub")
    assert (found.tables, found.bootstrap, found.snapshot) == ((("sales", "outbox"),), "kafka:9092", "initial")
    assert conninfo_to_dict(found.source_url) == {
        "host": "db", "port": "5433", "user": "carrier", "password": "p w'd", "dbname": "shop", "sslmode": "require",
    }  # fmt: skip
    assert found.create_publication
    assert found.routing.schema_prefix == "shop"


def test_both_shapes_of_file_are_read(tmp_path: Path) -> None:
    flat, nested = tmp_path / "flat.json", tmp_path / "nested.json"
    flat.write_text(json.dumps({"name": "n", **OPTIONS}))
    nested.write_text(json.dumps({"name": "n", "config": OPTIONS}))
    given = Overrides(bootstrap="k:1")
    assert debezium_config(Options.read(flat), given) == debezium_config(Options.read(nested), given)


def test_the_command_line_goes_before_the_file() -> None:
    given = Overrides("postgresql://x/y", "k:1", ("a.b", 'c."d.e"'), "s", "p", "n")
    found = config("database.hostname", "database.dbname", "table.include.list", given=given)
    assert (found.source_url, found.slot, found.publication, found.name) == ("postgresql://x/y", "s", "p", "n")
    assert found.tables == (("a", "b"), ("c", "d.e"))


def test_every_option_of_the_router_is_honoured_under_any_alias() -> None:
    rules = config(
        transforms__route__table__field__event__id="event_id",
        transforms__route__table__field__event__key="k",
        transforms__route__table__field__event__payload="body",
        transforms__route__table__field__event__timestamp="ts",
        transforms__route__table__field__event__schema__version="ver",
        transforms__route__table__field__event__type="kind",
        transforms__route__table__fields__additional__placement="a:header:b , c:envelope, p:partition",
        transforms__route__table__field__additional__missing="ignore",
        transforms__route__table__op__invalid__behavior="fatal",
        transforms__route__table__expand__json__payload="true",
        transforms__route__table__json__payload__null__behavior="ignore",
        transforms__route__route__by__field="kind",
        transforms__route__route__topic__regex="(.*)",
        transforms__route__route__topic__replacement="$1.v1",
        transforms__route__route__tombstone__on__empty__payload="true",
    ).routing
    assert (rules.id_field, rules.key_field, rules.payload_field) == ("event_id", "k", "body")
    assert (rules.timestamp_field, rules.schema_version_field, rules.route_by_field) == ("ts", "ver", "kind")
    assert rules.placements == tuple(map(DebeziumPlacement.parse, ("a:header:b", "c:envelope", "p:partition")))
    assert (rules.missing_field, rules.invalid_operation) == ("ignore", "fatal")
    assert (rules.expand_json, rules.json_nulls, rules.json_empty_arrays) == (True, "ignore", "keep")
    assert rules.router()("order") == "order.v1"
    assert rules.tombstone_on_empty_payload


def test_converters_become_forms() -> None:
    rules = config(
        key__converter="org.apache.kafka.connect.converters.LongConverter",
        value__converter=JSON,
        header__converter=JSON,
        header__converter__schemas__enable=False,
    ).routing
    assert (rules.key_form, rules.value_form, rules.header_form) == (Form("int64"), Form("json", True), Form("json"))
    binary = config(
        value__converter="io.debezium.converters.BinaryDataConverter",
        value__converter__delegate__converter__type=JSON,
        value__converter__delegate__converter__type__schemas__enable="false",
    )
    assert binary.routing.value_form == Form()


def test_a_regex_router_behind_the_event_router_renames_the_topic() -> None:
    found = config(
        transforms="route,rename",
        transforms__rename__type="org.apache.kafka.connect.transforms.RegexRouter",
        transforms__rename__regex="outbox\\.event\\.(.*)",
        transforms__rename__replacement="$1",
    )
    assert found.routing.renames == (Rename("outbox\\.event\\.(.*)", "$1"),)
    assert found.routing.router()("order") == "order"


def test_a_predicate_may_say_what_holds_anyway() -> None:
    predicate = {
        "predicates": "ours",
        "predicates__ours__type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
        "transforms__route__predicate": "ours",
    }
    config(predicates__ours__pattern="shop\\.sales\\.outbox", **predicate)
    with pytest.raises(BadOption, match=r"transforms\.route\.predicate='ours'.*sales\.outbox"):
        config(predicates__ours__pattern="shop\\.sales\\.other", **predicate)


@pytest.mark.parametrize(
    ("mode", "snapshot"),
    [("initial", "initial"), ("no_data", "no_data"), ("never", "no_data"), ("when_needed", "initial")],
)
def test_snapshot_modes(mode: str, snapshot: str) -> None:
    assert config(snapshot__mode=mode).snapshot == snapshot


def test_a_skipped_update_never_comes_to_the_router() -> None:
    fatal = {"transforms__route__table__op__invalid__behavior": "fatal"}
    assert config(skipped__operations="u,d,t", **fatal).routing.invalid_operation == "warn"
    assert config(skipped__operations="none", **fatal).routing.invalid_operation == "fatal"


def test_new_topics_are_made_as_the_file_says() -> None:
    found = config(
        topic__creation__enable="true",
        topic__creation__default__partitions="6",
        topic__creation__default__replication__factor=3,
        topic__creation__default__cleanup__policy="compact",
    )
    assert (found.new_topic_partitions, found.new_topic_replication) == (6, 3)
    assert found.new_topic_settings == {"cleanup.policy": "compact"}


def test_the_producers_options_are_handed_on() -> None:
    found = config(producer__override__compression__type="lz4", producer__override__max__request__size="2000000")
    assert (found.kafka, found.record_bytes_max) == ({"compression.type": "lz4"}, 2_000_000)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("nosuch.option", "x"),
        ("plugin.name", "decoderbufs"),
        ("connector.class", "io.debezium.connector.mysql.MySqlConnector"),
        ("snapshot.mode", "always"),
        ("publication.autocreate.mode", "no_tables"),
        ("value.converter", "io.confluent.connect.avro.AvroConverter"),
        ("header.converter", "org.apache.kafka.connect.converters.LongConverter"),
        ("value.converter.encoding", "ISO-8859-1"),
        ("skipped.operations", "c"),
        ("binary.handling.mode", "hex"),
        ("column.mask.with.12.chars", "public.outbox.payload"),
        ("signal.data.collection", "public.signals"),
        ("table.exclude.list", "public.other"),
        ("producer.override.sasl.mechanism", "PLAIN"),
        ("transforms.route.nosuch", "x"),
        ("transforms.route.type", "io.debezium.transforms.ExtractNewRecordState"),
        ("transforms.route.table.op.invalid.behavior", "ignore"),
        ("transforms.route.route.tombstone.on.empty.payload", "perhaps"),
        ("database.initial.statements", "set x = 1"),
        ("decimal.handling.mode", "exact"),
        ("time.precision.mode", "connect"),
    ],
)
def test_what_is_not_known_is_refused_by_its_name_and_value(option: str, value: str) -> None:
    with pytest.raises(BadOption) as refused:
        config(**{option.replace(".", "__"): value})
    assert option in str(refused.value)
    assert value in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("missing", ["database.hostname", "database.dbname", "table.include.list", "transforms"])
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(BadOption, match=missing.replace(".", r"\.")):
        config(missing, *(() if missing != "transforms" else ("transforms.route.type",)))
    with pytest.raises(BadOption, match="--bootstrap"):
        config(given=Overrides())


def test_an_envelope_of_bytes_is_refused() -> None:
    with pytest.raises(BadOption, match=r"value\.converter"):
        config(
            value__converter="org.apache.kafka.connect.converters.ByteArrayConverter",
            transforms__route__table__fields__additional__placement="type:envelope",
        )


def test_a_secret_is_never_shown() -> None:
    with pytest.raises(BadOption) as refused:
        config(database__password="${file:/secrets:key}")
    assert "secrets" not in str(refused.value)


@pytest.mark.parametrize("content", ["[]", "{", '{"config": {}, "nosuch": 1}', '{"config": {"a": []}}'])
def test_a_file_of_another_form_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "connector.json"
    path.write_text(content)
    with pytest.raises(BadOption, match="--debezium-config"):
        Options.read(path)
