"""Lanes over plain rows: order, ends, bounds, and whom an operator means."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from faust_rdkafka import RawRecord
from schemas.messages import ActOnDeadLetters
from streams.letters.kept import VALUE_BYTES_MAX, Kept, from_row, keep, to_row
from streams.letters.lanes import OpenLanes, lane_of


def kept(offset: int, key: str = "o1", agent: str = "orchestrate") -> Kept:
    record = RawRecord("orders.events", 0, offset, 12.5, key.encode(), b"\x00value", [("ce_id", b"\xff")])
    return keep(agent, lane_of(agent, key), record)


def offsets(lanes: OpenLanes, lane: str) -> list[int]:
    return [found.record.offset for _, found in lanes.records(lane)]


def wanted(lanes: OpenLanes, **meant: Any) -> list[tuple[str, int | None]]:
    return list(lanes.wanted(ActOnDeadLetters("REDRIVE", "me", "why", **meant)))


def test_a_record_comes_back_from_its_row_as_it_was() -> None:
    one = kept(7).failed(ValueError("no"), datetime(2026, 1, 1, tzinfo=UTC))
    assert from_row(json.loads(json.dumps(to_row(one)))) == one


def test_a_record_that_no_row_can_hold_leaves_its_hash() -> None:
    large = RawRecord("t", 0, 1, 0.0, b"k", b"x" * (VALUE_BYTES_MAX + 1), [])
    found = keep("a", "a/k", large)
    assert found.record.value is None
    assert len(found.digest or "") == 64


def test_records_wait_in_the_order_in_which_they_came() -> None:
    lanes = OpenLanes(found := {})
    assert not lanes
    assert [lanes.put(kept(offset)) for offset in (3, 5, 9)] == [1, 2, 3]
    lane = kept(0).standing.lane
    assert (offsets(lanes, lane), lanes.count(lane), list(lanes)) == ([3, 5, 9], 3, [lane])
    for number in (1, 0, 2):
        lanes.remove(lane, number)
    assert found == {}


def test_a_lane_goes_on_behind_a_record_that_was_taken_from_its_middle() -> None:
    lanes, lane = OpenLanes({}), kept(0).standing.lane
    for offset in range(4):
        lanes.put(kept(offset))
    lanes.remove(lane, 1)
    lanes.remove(lane, 0)
    assert offsets(lanes, lane) == [2, 3]
    lanes.put(kept(8))
    assert offsets(lanes, lane) == [2, 3, 8]


def test_an_operator_means_a_letter_a_key_or_all_from_a_lane_on() -> None:
    lanes = OpenLanes({})
    for one in (kept(1, "a"), kept(2, "a"), kept(3, "b"), kept(1, "a", "project")):
        lanes.put(one)
    a, b, other = "orchestrate\x1fa", "orchestrate\x1fb", "project\x1fa"
    assert wanted(lanes) == [(a, None), (b, None), (other, None)]
    assert wanted(lanes, lane=b) == [(b, None), (other, None)]
    assert wanted(lanes, key="a") == [(a, None), (other, None)]
    assert wanted(lanes, letter=kept(2, "a").letter_id) == [(a, 1)]
    assert wanted(lanes, letter="none", key="a") == []
