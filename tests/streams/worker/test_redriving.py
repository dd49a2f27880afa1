"""Redrives and discards in memory: order, the record that fails again, long lanes in several transactions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from faust_rdkafka import RawRecord
from schemas.codec import AvroCodec
from schemas.messages import ActOnDeadLetters, DeadLettered
from schemas.topics import DEAD_LETTERS, DEAD_LETTERS_COMMANDS, ORDERS_EVENTS
from streams.errors import UnexpectedMessage
from streams.letters.kept import Kept
from streams.letters.lanes import PAUSES_AT, lane_of
from streams.outgoing import Outgoing
from streams.scenario import message
from streams.worker.parking import Parking
from streams.worker.redriving import RECORDS_MAX, Redriving

CODEC = AvroCodec()


@dataclass
class Worker:
    """One partition of a worker whose agent refuses some offsets."""

    bad: set[int] = field(default_factory=set)
    handled: list[int] = field(default_factory=list)
    rows: dict[str, Any] = field(default_factory=dict)
    sent: list[tuple[Any, ...]] = field(default_factory=list)
    held: frozenset[Any] = frozenset()

    def __post_init__(self) -> None:
        app: Any = SimpleNamespace(emit=self.emit, hold=self.hold)
        table = SimpleNamespace(partition=lambda number: self.rows)
        self.parking = Parking(app, table, CODEC, lambda: datetime(2026, 1, 1, tzinfo=UTC))
        self.redriving = Redriving(self.parking, self.try_one)

    def emit(self, topic: str, key: bytes, value: bytes | None, headers: Any = None, partition: int = -1) -> None:
        self.sent.append((topic, key.decode(), value, partition))

    def hold(self, partitions: frozenset[Any]) -> None:
        self.held = partitions

    def try_one(self, kept: Kept) -> None:
        if kept.record.offset in self.bad:
            raise ValueError(f"offset {kept.record.offset} again")
        self.handled.append(kept.record.offset)

    def fail(self, offset: int, key: str = "o1") -> None:
        record = RawRecord(ORDERS_EVENTS, 0, offset, 0.0, key.encode(), b"v", [])
        self.parking.set_aside("fold", record, None, ValueError("no"))

    def act(self, act: str, **meant: Any) -> list[Outgoing]:
        return self.redriving.handle(message(ActOnDeadLetters(act, "me", "why", **meant), "all"), 0)

    def letters(self) -> dict[str, DeadLettered]:
        """What `tally dead-letters list` reads: the last record of each key."""
        last = {key: value for topic, key, value, _ in self.sent if topic == DEAD_LETTERS}
        return {key: CODEC.decode(value) for key, value in last.items() if value is not None}

    def states(self) -> list[tuple[int | None, str | None, int | None]]:
        return sorted((letter.offset, letter.state, letter.attempts) for letter in self.letters().values())


def test_what_comes_behind_a_failed_record_waits_and_has_a_letter_too() -> None:
    worker = Worker()
    for offset in (4, 5, 6):
        worker.fail(offset)
    assert worker.states() == [(4, "FAILED", 1), (5, "WAITING", 0), (6, "WAITING", 0)]
    assert {letter.lane for letter in worker.letters().values()} == {lane_of("fold", "o1")}


def test_a_redrive_after_a_fix_handles_the_whole_lane_in_order_and_takes_its_letters_away() -> None:
    worker = Worker()
    for offset in (4, 5, 6):
        worker.fail(offset)
    (trail,) = worker.act("REDRIVE")
    assert worker.handled == [4, 5, 6]
    assert (worker.letters(), worker.rows) == ({}, {})
    assert (trail.message.body.done, trail.message.body.left, trail.message.body.by) == (3, 0, "me")


def test_a_redrive_stops_at_the_record_that_fails_again_and_tells_how_it_went() -> None:
    worker = Worker(bad={5})
    for offset in (4, 5, 6):
        worker.fail(offset)
    (trail,) = worker.act("REDRIVE", key="o1")
    assert worker.handled == [4]
    assert worker.states() == [(5, "FAILED", 1), (6, "WAITING", 0)]
    worker.act("REDRIVE", key="o1")
    (failed,) = [letter for letter in worker.letters().values() if letter.state == "FAILED"]
    assert (failed.attempts, failed.reason) == (2, "offset 5 again")
    assert (failed.history or "").count("ValueError: offset 5 again") == 2
    assert "in try_one" in (failed.stack or "")
    assert (trail.message.body.done, trail.message.body.left) == (1, 2)


def test_one_key_that_fails_again_holds_up_no_other() -> None:
    worker = Worker(bad={1})
    worker.fail(1, "a")
    worker.fail(2, "b")
    worker.act("REDRIVE")
    assert worker.handled == [2]


def test_a_discarded_record_makes_way_for_those_behind_it() -> None:
    worker = Worker()
    for offset in (4, 5, 6):
        worker.fail(offset)
    (first,) = [id_ for id_, letter in worker.letters().items() if letter.offset == 4]
    worker.act("DISCARD", letter=first)
    assert (worker.handled, worker.letters()) == ([5, 6], {})


def test_a_waiting_record_can_be_discarded_while_the_first_still_waits_for_its_fix() -> None:
    worker = Worker()
    for offset in (4, 5, 6):
        worker.fail(offset)
    (second,) = [id_ for id_, letter in worker.letters().items() if letter.offset == 5]
    worker.act("DISCARD", letter=second)
    assert (worker.handled, worker.states()) == ([], [(4, "FAILED", 1), (6, "WAITING", 0)])


@pytest.mark.parametrize("act", ["REDRIVE", "DISCARD"])
@pytest.mark.parametrize("named", [True, False])
def test_a_long_lane_goes_on_in_further_transactions(act: str, named: bool) -> None:
    worker, count = Worker(bad={9_000}), 2 * RECORDS_MAX + 10
    worker.fail(9_000, "before")
    for offset in range(count):
        worker.fail(offset)
    (first,) = [id_ for id_, letter in worker.letters().items() if letter.offset == 0]
    acts, wish = 0, message(ActOnDeadLetters(act, "me", "why", first if named else None), "all")
    while wish is not None:
        worker.sent.clear()
        worker.redriving.handle(wish, 3)
        acts += 1
        onward = [(value, partition) for topic, _, value, partition in worker.sent if topic == DEAD_LETTERS_COMMANDS]
        assert [partition for _, partition in onward] in ([], [3])
        wish = message(CODEC.decode(onward[0][0]), "all") if onward else None
    assert acts == 3
    assert lane_of("fold", "o1") not in worker.parking.lanes(0)
    if act == "REDRIVE" or named:
        assert worker.handled == list(range(named and act == "DISCARD", count))


def test_a_full_lane_pauses_its_partition_with_an_alarm_until_it_is_redriven() -> None:
    worker = Worker()
    for offset in range(PAUSES_AT - 1):
        worker.fail(offset)
    assert worker.held == frozenset()
    with capture_logs() as logs:
        worker.fail(PAUSES_AT)
    assert ("paused: as much waits in a lane as may wait", "error") in {(e["event"], e["log_level"]) for e in logs}
    assert {(tp.topic, tp.partition) for tp in worker.held} == {(ORDERS_EVENTS, 0)}
    before = dict(worker.rows)
    worker.act("DISCARD")
    worker.parking.committed("waiting", 0, list(before))
    assert worker.held == frozenset()


def test_a_partition_that_comes_with_a_full_lane_is_paused_again() -> None:
    worker, successor = Worker(), Worker()
    for offset in range(PAUSES_AT):
        worker.fail(offset)
    successor.rows = worker.rows
    successor.parking.restored([0])
    assert successor.held == worker.held != frozenset()
    successor.parking.dropped([0])
    assert successor.parking.held == frozenset()


def test_an_act_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UnexpectedMessage):
        Worker().act("FORGET")
    assert Worker().act("REDRIVE", key="nothing waits") == []


def test_a_record_that_ended_processes_waits_for_every_agent_of_its_topic_and_is_never_decoded() -> None:
    worker = Worker()
    worker.parking.readers[ORDERS_EVENTS] = ["fold", "project"]
    deadly = RawRecord(ORDERS_EVENTS, 0, 4, 0.0, b"o1", b"never read", [])
    topic, key, value, _ = worker.parking.killed(deadly, "FAILED", RuntimeError("2 processes ended"))
    worker.fail(5)
    assert list(worker.parking.lanes(0)) == [lane_of("fold", "o1"), lane_of("project", "o1")]
    assert (topic, CODEC.decode(value).origin) == (DEAD_LETTERS, "worker/project")
    assert worker.states() == [(4, "FAILED", 1), (5, "WAITING", 0)]
    worker.act("REDRIVE")
    assert worker.handled == [4, 5, 4]
    assert key is not None


def test_a_record_of_a_topic_that_no_agent_of_ours_reads_has_a_letter_only() -> None:
    worker = Worker()
    stranger = RawRecord("strangers", 0, 4, 0.0, b"k", b"v", [])
    _, _, value, _ = worker.parking.killed(stranger, "FAILED", KeyboardInterrupt())
    assert (CODEC.decode(value).origin, worker.rows) == ("worker", {})
