"""EventRouter's rules on rows in memory; the recorded cases of the real one are in test_debezium_cases.py."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.outbox.config import DebeziumPlacement, Form, OutboxConfig, Routing
from connectors.outbox.errors import BadOption, TableUnfit
from connectors.outbox.pgoutput import Column
from connectors.outbox.routing import Route, Unroutable, record_bytes

TEXT, UUID, BIGINT, BOOL, BYTEA, TIMESTAMP, TIMESTAMPTZ, INT, JSONB = 25, 2950, 20, 16, 17, 1114, 1184, 23, 3802
COLUMNS = {
    "id": UUID,
    "aggregatetype": TEXT,
    "aggregateid": TEXT,
    "type": TEXT,
    "payload": BYTEA,
    "created_at": TIMESTAMPTZ,
    "part": INT,
}
ROW = {
    "id": "1",
    "aggregatetype": "order",
    "aggregateid": "k1",
    "type": "T",
    "payload": "\\x00ff",
    "created_at": "2024-02-29 10:34:56.12+00",
}


def route_of(**rules: Any) -> Route:
    return Route(Routing(**rules), [Column(name, oid) for name, oid in COLUMNS.items()])


def values_of(**changes: str | None) -> list[bytes | None]:
    row: dict[str, str | None] = {**ROW, **changes}
    return [None if (text := row.get(name)) is None else text.encode() for name in COLUMNS]


def test_defaults_are_those_of_debezium() -> None:
    record = route_of().record(values_of())
    assert record == ("outbox.event.order", b"k1", b"\x00\xff", [("id", b"1")], 0, -1)


def test_null_columns_are_headers_with_null_unless_the_option_leaves_them_out() -> None:
    placements = DebeziumPlacement.parse_list("type:header:eventType, part:header")
    assert route_of(placements=placements).record(values_of()).headers == [
        ("id", b"1"),
        ("eventType", b"T"),
        ("part", None),
    ]
    kept = route_of(placements=placements, null_headers=False).record(values_of())
    assert kept.headers == [("id", b"1"), ("eventType", b"T")]


def test_a_timestamptz_is_rfc_3339_in_headers_and_milliseconds_on_the_record() -> None:
    placements = (DebeziumPlacement.parse("created_at:header:ce_time"),)
    record = route_of(placements=placements, timestamp_field="created_at").record(values_of())
    assert record.headers[1] == ("ce_time", b"2024-02-29T10:34:56.12Z")
    assert record.timestamp_ms == 1_709_202_896_120


@pytest.mark.parametrize("text", ["infinity", "1969-12-31 23:59:59+00", "0044-03-15 00:00:00+00 BC", "no time"])
def test_a_time_that_kafka_cannot_hold_is_unroutable(text: str) -> None:
    with pytest.raises(Unroutable, match="created_at"):
        route_of(timestamp_field="created_at").record(values_of(created_at=text))


def test_a_null_time_means_the_time_of_sending() -> None:
    assert route_of(timestamp_field="created_at").record(values_of(created_at=None)).timestamp_ms == 0


def test_the_route_replaces_what_the_regex_names() -> None:
    rules = {"route_regex": r"(?<kind>\w+)-(\d+)", "route_replacement": "v$2.${kind}"}
    assert route_of(**rules).record(values_of(aggregatetype="order-7")).topic == "v7.order"


def test_a_value_that_the_regex_does_not_match_is_the_topic_itself() -> None:
    assert route_of(route_regex="x.*", route_replacement="y").record(values_of()).topic == "order"


def test_another_column_can_name_the_topic() -> None:
    assert (
        route_of(route_by_field="type", route_replacement="${routedByValue}", route_regex="(?<routedByValue>.*)")
        .record(values_of())
        .topic
        == "T"
    )


def test_a_null_routing_value_is_unroutable_and_what_is_known_can_be_salvaged() -> None:
    route, row = route_of(), values_of(aggregatetype=None)
    with pytest.raises(Unroutable, match="aggregatetype"):
        route.record(row)
    assert route.salvage(row) == ("", b"k1", b"\x00\xff", [("id", b"1")], 0, -1)


def test_a_partition_column_sets_the_partition() -> None:
    placed = (DebeziumPlacement.parse("part:partition"),)
    assert route_of(placements=placed).record(values_of(part="3")).partition == 3
    assert route_of(placements=placed).record(values_of()).partition == -1
    with pytest.raises(Unroutable):
        route_of(placements=placed).record(values_of(part="-2"))


def test_an_empty_bytea_is_no_tombstone() -> None:
    assert route_of(tombstone_on_empty_payload=True).record(values_of(payload="\\x")).value == b""


def test_a_missing_column_is_refused_by_name_unless_it_may_be_missing() -> None:
    placed = (DebeziumPlacement.parse("nosuch:header"),)
    with pytest.raises(TableUnfit, match="nosuch"):
        route_of(placements=placed)
    assert route_of(placements=placed, missing_field="ignore").record(values_of()).headers == [("id", b"1")]


@pytest.mark.parametrize("entry", ["type", "type:footer", ":header", "a:header:b:c"])
def test_a_placement_that_we_do_not_know_is_refused_by_name(entry: str) -> None:
    with pytest.raises(BadOption, match=entry):
        DebeziumPlacement.parse(entry)


@pytest.mark.parametrize(
    "change", [{"route_regex": "("}, {"route_replacement": "${nosuch}"}, {"route_replacement": "$9"}]
)
def test_a_route_that_cannot_work_is_refused_at_once(change: dict[str, str]) -> None:
    with pytest.raises(BadOption):
        Routing(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"slot": "Bad-Slot"}, {"name": "a/b"}, {"table": "a.b.c"}, {"table": ".x"}])
def test_a_name_that_cannot_be_is_refused_at_once(change: dict[str, str]) -> None:
    given = {"name": "n", "source_url": "", "bootstrap": "", "table": "public.outbox", "slot": "s"}
    with pytest.raises(BadOption):
        OutboxConfig(**(given | change))  # type: ignore[arg-type]


times = st.datetimes().map(lambda moment: moment.isoformat(" "))


@given(st.text(max_size=200), st.text(max_size=50), st.binary(max_size=300), times)
def test_no_record_is_larger_than_its_frame_allows(key: str, kind: str, payload: bytes, time: str) -> None:
    placements = DebeziumPlacement.parse_list("type:header,aggregateid:header,created_at:header,part:header")
    row = values_of(aggregateid=key, type=kind, payload="\\x" + payload.hex(), created_at=time + "+00")
    route = route_of(placements=placements)
    frame_bytes = sum(len(value or b"") + 5 for value in row)
    assert record_bytes(route.record(row)) <= route.headroom(frame_bytes)


JSON, SCHEMAS = Form("json"), Form("json", schemas=True)


@given(st.text(max_size=100), st.text(max_size=50), st.binary(max_size=300), st.sampled_from([JSON, SCHEMAS]))
def test_no_json_record_is_larger_than_its_frame_allows(key: str, kind: str, payload: bytes, form: Form) -> None:
    placements = DebeziumPlacement.parse_list("type:header,type:envelope,created_at:envelope,payload:envelope:again")
    row = values_of(aggregateid=key, type=kind, payload="\\x" + payload.hex())
    route = route_of(placements=placements, key_form=form, value_form=form, header_form=form)
    assert record_bytes(route.record(row)) <= route.headroom(sum(len(value or b"") + 5 for value in row))


@pytest.mark.parametrize(
    ("form", "value"),
    [
        (Form(), '{"payload":"AP8=","type":"T","at":"2024-02-29T10:34:56.12Z","part":null}'),
        (JSON, '{"payload":"AP8=","type":"T","at":"2024-02-29T10:34:56.12Z","part":null}'),
    ],
)
def test_an_envelope_is_json_whatever_the_converter(form: Form, value: str) -> None:
    placements = DebeziumPlacement.parse_list("type:envelope,created_at:envelope:at,part:envelope")
    assert route_of(placements=placements, value_form=form).record(values_of()).value == value.encode()


def test_an_envelopes_schema_is_named_by_table_and_route() -> None:
    rules = Routing(
        placements=(DebeziumPlacement.parse("type:envelope"),),
        value_form=SCHEMAS,
        schema_prefix="shop",
        schema_version_field="part",
    )
    route = Route(rules, [Column(name, oid) for name, oid in COLUMNS.items()], "public.outbox")
    value = json.loads(route.record(values_of(part="3")).value or b"")
    assert (value["schema"]["name"], value["schema"]["version"]) == ("shop.public.outbox.order.Value", 3)
    assert value["payload"] == {"payload": "AP8=", "type": "T"}


def test_a_tombstone_has_no_envelope() -> None:
    placements = (DebeziumPlacement.parse("type:envelope"),)
    route = route_of(placements=placements, value_form=JSON, tombstone_on_empty_payload=True)
    assert route.record(values_of(payload=None)).value is None
    assert route_of(placements=placements, value_form=JSON).record(values_of(payload=None)).value == (
        b'{"payload":null,"type":"T"}'
    )


@pytest.mark.parametrize(
    ("form", "key", "null"),
    [
        (Form(), b"7", None),
        (JSON, b"7", b"null"),
        (SCHEMAS, b'{"schema":{"type":"int32","optional":true},"payload":7}', b'{"schema":{"type":"int32","optional":true},"payload":null}'),
        (Form("int64"), b"\0\0\0\0\0\0\0\7", None),
        (Form("int16"), b"\0\7", None),
        (Form("double"), b"@\x1c\0\0\0\0\0\0", None),
    ],
)  # fmt: skip
def test_a_key_takes_its_converters_form(form: Form, key: bytes, null: bytes | None) -> None:
    route = route_of(key_field="part", key_form=form)
    assert route.record(values_of(part="7")).key == key
    assert route.record(values_of()).key == null


def test_a_key_that_does_not_fit_its_converter_is_unroutable() -> None:
    with pytest.raises(Unroutable, match="part"):
        route_of(key_field="part", key_form=Form("int16")).record(values_of(part="70000"))
    with pytest.raises(Unroutable, match="aggregateid"):
        route_of(key_form=Form("int64")).record(values_of())


def expanded(kind: int, payload: str | None, **rules: Any) -> bytes | None:
    columns = [Column(name, kind if name == "payload" else oid) for name, oid in COLUMNS.items()]
    rules = {"expand_json": True, "value_form": JSON} | rules
    return Route(Routing(**rules), columns).record(values_of(payload=payload)).value


@pytest.mark.parametrize(
    ("kind", "payload", "value"),
    [
        (TEXT, '{ "a" : [1, null, {"b": []}], "é": "😀" }', b'{"a":[1,null,{"b":[]}],"\xc3\xa9":"\\uD83D\\uDE00"}'),
        (TEXT, " [1]", b"[1]"),
        (TEXT, "5", b'"5"'),
        (TEXT, "{broken", b'"{broken"'),
        (TEXT, "", b'""'),
        (TEXT, None, b"null"),
        (JSONB, "5", b"5"),
        (JSONB, '"x"', b'"x"'),
        (BYTEA, "\\x7b7d", b'"e30="'),
    ],
)
def test_a_payload_that_is_json_is_expanded(kind: int, payload: str | None, value: bytes) -> None:
    assert expanded(kind, payload) == value


def test_members_are_left_out_only_when_the_options_say_so() -> None:
    payload = '{"a":null,"b":[]}'
    assert expanded(JSONB, payload) == payload.encode()
    assert expanded(JSONB, payload, json_nulls="ignore") == b'{"b":[]}'
    assert expanded(JSONB, payload, json_empty_arrays="ignore") == b'{"a":null}'


def test_what_has_no_schema_stays_a_string_when_schemas_are_asked_for() -> None:
    mixed = json.loads(expanded(JSONB, '[1, "x"]', value_form=SCHEMAS) or b"")
    assert (mixed["schema"]["type"], mixed["payload"]) == ("string", '[1, "x"]')
    plain = json.loads(expanded(JSONB, '{"a": 1}', value_form=SCHEMAS) or b"")
    assert plain == {
        "schema": {
            "type": "struct",
            "fields": [{"type": "int32", "optional": True, "field": "a"}],
            "optional": True,
            "name": "payload",
        },
        "payload": {"a": 1},
    }


def test_a_bigint_column_is_the_timestamp_in_milliseconds() -> None:
    columns = [Column(name, BIGINT if name == "created_at" else oid) for name, oid in COLUMNS.items()]
    route = Route(Routing(timestamp_field="created_at"), columns)
    assert route.record(values_of(created_at="1709210096789")).timestamp_ms == 1_709_210_096_789
    with pytest.raises(Unroutable, match="1970"):
        route.record(values_of(created_at="-1"))
