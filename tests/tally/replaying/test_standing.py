"""A replay's row: what is written is read again, and what people see of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastavro import parse_schema

from tally.replaying.asked import Bounds, Range
from tally.replaying.errors import WrongReplay
from tally.replaying.files import container_schema
from tally.replaying.running import BATCH_RECORDS_MAX, Pace
from tally.replaying.standing import FAULTS_MAX, LOST_AFTER_S, Progress, Replay, Standing, State
from tally.replaying.targets import Into, Kind, parse_into

RANGES = (Range("a", 0, 10, 20), Range("a", 1, 0, 30))
BOUNDS = Bounds("beginning", "2026-11-25T12:00:00.000Z", None, ("k",), None, ("ORDER_CREATED",), 1, None, 5)
ROW = Standing(
    Replay("r-1", RANGES, BOUNDS, "topic:b", 2.0, "why", "who", "2026-11-25T12:00:00.000Z"),
    State.RUNNING,
    Progress({("a", 0): 15, ("a", 1): 0}, 5, 4, 1, {"ORDER_CREATED": 4}, ["a/0/12: no"], 77, 1.5, 2.0),
    1_000,
)


def test_a_row_survives_its_json() -> None:
    assert Standing.from_json(ROW.to_json()) == ROW


def test_people_see_how_much_is_left() -> None:
    row = ROW.shown(1_000)
    assert (row["state"], row["done_percent"], row["left"], row["records_per_second"]) == ("RUNNING", 12.5, 35, 2.0)
    assert ROW.in_full(1_000)["ranges"][0] == {"topic": "a", "partition": 0, "start": 10, "end": 20, "position": 15}


def test_a_process_without_a_sign_is_lost_and_the_way_on_is_told() -> None:
    row = ROW.shown(1_000 + round(LOST_AFTER_S * 1_000) + 1)
    assert (row["state"], row["records_per_second"]) == ("LOST", None)
    assert "--resume r-1" in row["note"]
    assert replace(ROW, state=State.PAUSED).shown(10**9)["state"] == "PAUSED"


def test_faults_are_named_up_to_a_bound_and_counted_beyond() -> None:
    progress = Progress({})
    for number in range(FAULTS_MAX + 5):
        progress.fault(f"a/0/{number}")
    assert (progress.unreadable, len(progress.faults)) == (FAULTS_MAX + 5, FAULTS_MAX)


def test_a_slow_pace_makes_small_batches_and_no_rush_after_a_wait() -> None:
    assert [Pace(rate).batch_records for rate in (None, 1, 100, 10**6)] == [
        BATCH_RECORDS_MAX,
        1,
        20,
        BATCH_RECORDS_MAX,
    ]
    pace = Pace(1)
    pace.begin()
    pace.end(3)
    assert 2 < pace.ahead_s() <= 3
    assert Pace(None).ahead_s() == 0


@pytest.mark.parametrize(
    ("text", "into"),
    [("print", Into(Kind.PRINT)), ("topic:a.b", Into(Kind.TOPIC, "a.b")), ("file:/x/y", Into(Kind.FILE, "/x/y"))],
)
def test_targets_are_read_and_written_alike(text: str, into: Into) -> None:
    assert parse_into(text) == into
    assert str(into) == text


@pytest.mark.parametrize("text", ["", "topic", "topic:", "file:", "kafka:x"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(WrongReplay, match="--into"):
        parse_into(text)


def test_whoever_asks_for_a_table_is_told_how_one_is_built() -> None:
    with pytest.raises(WrongReplay, match="tally replay build orders"):
        parse_into("table:orders")


def test_the_schema_of_a_container_names_each_type_once() -> None:
    schema = container_schema()
    parse_schema(schema)
    union = next(field["type"] for field in schema["fields"] if field["name"] == "data")
    assert len(union) == len({each["name"] for each in union})
