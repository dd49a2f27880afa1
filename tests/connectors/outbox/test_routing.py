"""EventRouter's rules on rows in memory; the recorded cases of the real one are in test_debezium_cases.py."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.outbox.config import DebeziumPlacement, OutboxConfig, Routing
from connectors.outbox.errors import BadOption, TableUnfit
from connectors.outbox.pgoutput import Column
from connectors.outbox.routing import Route, Unroutable, record_bytes

TEXT, UUID, BIGINT, BOOL, BYTEA, TIMESTAMP, TIMESTAMPTZ, INT = 25, 2950, 20, 16, 17, 1114, 1184, 23
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
