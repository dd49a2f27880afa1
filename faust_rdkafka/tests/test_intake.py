"""What was read and not yet taken: bounded by records and bytes, in order, and never of an assignment that is over."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, Message
from faust.types import TP
from faust_rdkafka.gathered import Run, by_partition, size_of
from faust_rdkafka.intake import Intake

from faust_rdkafka import Options

PLACE = TP("t", 0)


def record(offset: int, size_bytes: int = 1) -> Message:
    return Message(topic="t", partition=0, offset=offset, value=bytes(size_bytes))


def end(offset: int) -> Message:
    return Message(topic="t", partition=0, offset=offset, error=KafkaError(KafkaError._PARTITION_EOF))


def keep(intake: Intake, *messages: Message) -> None:
    """As the fetch thread does with one read."""
    groups, others = by_partition(messages)
    intake.keep([(Run(tp, group, None), size_of(group)) for tp, group in groups.items()], others, list(messages))


def offsets(intake: Intake) -> list[int]:
    gathered = intake.take()
    return [] if gathered is None else [message.offset() for message in gathered.records.get(PLACE, [])]


def test_what_is_taken_is_what_was_read_in_order() -> None:
    intake = Intake(Options())
    assert intake.take() is None
    keep(intake, record(0), record(1))
    keep(intake, record(2))
    assert offsets(intake) == [0, 1, 2]
    assert intake.take() is None


def test_an_event_loop_that_found_nothing_is_woken_once() -> None:
    intake = Intake(Options())
    keep(intake, record(0))
    assert not intake.is_awaited()
    assert offsets(intake) == [0]
    intake.take()
    assert not intake.is_awaited()
    keep(intake, record(1))
    assert [intake.is_awaited(), intake.is_awaited()] == [True, False]


def test_bytes_beyond_the_bound_go_into_later_batches_in_order() -> None:
    intake = Intake(Options(batch_bytes_max=10))
    keep(intake, *(record(offset, 4) for offset in range(5)))
    assert intake.room() == 0
    batches = []
    while found := offsets(intake):
        batches.append(found)
        intake.room()
    assert batches == [[0, 1], [2, 3], [4]]


def test_a_record_larger_than_the_bound_is_a_batch_alone() -> None:
    intake = Intake(Options(batch_bytes_max=10))
    keep(intake, record(0, 50), record(1))
    assert offsets(intake) == [0]
    intake.room()
    assert offsets(intake) == [1]


def test_there_is_room_for_as_many_records_as_lack_to_the_bound() -> None:
    intake = Intake(Options(batch_records_max=5))
    keep(intake, record(0), record(1))
    assert intake.room() == 3


def test_the_end_of_a_partition_is_not_reached_before_its_last_record_is_in_the_batch() -> None:
    intake = Intake(Options(batch_bytes_max=10))
    keep(intake, record(0, 8), record(1, 8), end(3))
    gathered: Any = intake.take()
    assert gathered.ends == {}
    assert intake.room() > 0
    assert offsets(intake) == [1]
    keep(intake, end(3))
    gathered = intake.take()
    assert (gathered.count, gathered.ends) == (0, {PLACE: 3})


def test_what_was_read_before_a_rebalance_is_never_taken_after_it() -> None:
    intake = Intake(Options(batch_bytes_max=10))
    keep(intake, record(0, 8), record(1, 8))
    epoch = intake.epoch
    intake.new_epoch()
    assert intake.epoch == epoch + 1
    intake.room()
    assert intake.take() is None


def test_a_worker_out_of_its_group_drops_until_the_rebalance() -> None:
    intake = Intake(Options())
    keep(intake, record(0))
    intake.drop_until_rebalance()
    assert intake.dropping
    assert intake.take() is None
    intake.new_epoch()
    assert not intake.dropping


def test_a_batch_that_lingers_waits_for_more_unless_it_is_full() -> None:
    intake = Intake(Options(batch_linger_ms=60_000, batch_records_max=2))
    assert intake.take() is None
    keep(intake, record(0))
    assert not intake.is_awaited()
    assert 0 < (intake.lingers_s() or 0) <= 60
    keep(intake, record(1))
    assert intake.is_awaited()
    assert offsets(intake) == [0, 1]
