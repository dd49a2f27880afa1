"""The index of histories: what is kept, what is read, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message
from schemas.errors import Undecodable
from schemas.histories import Sum, message_of
from schemas.messages import OrderCancelled
from schemas.records import encode_record
from streams.histories.index import HistoryIndex, Indexed, Position, StoreFailed

CODEC = AvroCodec()
TOPIC = "orders.events"
VERSION_MAX = (1 << 63) - 1


def event(subject: str, version: int | None, id_: str | None = None) -> Message:
    at = datetime(2026, 11, 25, 12, tzinfo=UTC)
    id_ = id_ or f"{subject}-{version}"
    return Message(
        Envelope(id_, "ORDER_CANCELLED", "/t", "orders", subject, version, at, "c", "c"), OrderCancelled(f"v{version}")
    )


def indexed(message: Message, offset: int = 0) -> Indexed:
    _, value, headers = encode_record(message, CODEC)
    return Indexed(offset, list(headers), value)


def reached(offset: int, topic_id: str = "t1") -> Position:
    return Position(topic_id, offset)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[HistoryIndex]:
    opened = HistoryIndex(tmp_path / "index")
    yield opened
    opened.close()


def read(index: HistoryIndex, subject: str, first: int = 1, last: int = VERSION_MAX) -> list[Message]:
    return [message_of(row, CODEC) for row in index.read("orders", subject, first, last)]


def test_a_history_is_read_by_version_between_two_of_them(index: HistoryIndex) -> None:
    events = [event("o1", version) for version in range(1, 301)]
    index.add(TOPIC, 0, [indexed(each) for each in reversed(events)], reached(300))
    assert read(index, "o1") == events
    assert read(index, "o1", 255, 257) == events[254:257]
    assert read(index, "o1", 301) == []
    assert read(index, "nobody") == []


def test_ids_that_begin_alike_are_apart(index: HistoryIndex) -> None:
    subjects = ["a", "a\x1f", "aa", "a/1", "", "\x00", "ä"]
    index.add(TOPIC, 0, [indexed(event(subject, 1)) for subject in subjects], reached(1))
    for subject in subjects:
        assert read(index, subject) == [event(subject, 1)]


def test_what_is_written_twice_is_there_once_and_is_no_fork(index: HistoryIndex) -> None:
    for _ in range(2):
        index.add(TOPIC, 0, [indexed(event("o1", 1)), indexed(event("o1", 1))], reached(2))
    assert read(index, "o1") == [event("o1", 1)]
    assert index.forked == 0


def test_another_event_under_a_version_is_counted_and_the_first_stays(index: HistoryIndex) -> None:
    index.add(TOPIC, 0, [indexed(event("o1", 1)), indexed(event("o1", 1, "other"))], reached(2))
    index.add(TOPIC, 0, [indexed(event("o1", 1, "third"))], reached(3))
    assert read(index, "o1") == [event("o1", 1)]
    assert index.forked == 2


def test_what_is_no_event_is_counted_and_passed(index: HistoryIndex) -> None:
    strangers = [Indexed(0, [], b""), Indexed(1, [("ce_id", b"\xff")], b""), indexed(event("o1", None))]
    index.add(TOPIC, 0, [*strangers, indexed(event("o1", 1))], reached(4))
    assert (read(index, "o1"), index.unreadable) == ([event("o1", 1)], 3)


def test_position_and_records_outlive_the_process(tmp_path: Path) -> None:
    first = HistoryIndex(tmp_path)
    assert first.position(TOPIC, 3) is None
    first.add(TOPIC, 3, [indexed(event("o1", 1), 41)], reached(42))
    with pytest.raises(StoreFailed):
        HistoryIndex(tmp_path)
    first.close()
    second = HistoryIndex(tmp_path)
    assert second.position(TOPIC, 3) == reached(42)
    assert read(second, "o1") == [event("o1", 1)]
    second.close()


def test_a_topic_that_was_made_anew_is_forgotten_and_others_are_not(index: HistoryIndex) -> None:
    index.add(TOPIC, 0, [indexed(event("o1", 1))], reached(1))
    payment = event("o1", 1)
    moved = Message(
        Envelope(**{n: getattr(payment.envelope, n) for n in ENVELOPE} | {"aggregatetype": "payments"}), payment.body
    )
    index.add("payments.events", 0, [indexed(moved)], reached(1))
    index.forget(TOPIC, range(4), "orders")
    assert read(index, "o1") == []
    assert index.position(TOPIC, 0) is None
    assert len(list(index.read("payments", "o1", 1, 9))) == 1


ENVELOPE = (
    "id",
    "type",
    "source",
    "aggregatetype",
    "subject",
    "version",
    "recorded_at",
    "correlation_id",
    "causation_id",
)


@given(st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5)))
def test_what_is_no_row_is_undecodable_and_nothing_worse(row: dict[str, object]) -> None:
    with pytest.raises(Undecodable):
        message_of(row, CODEC)


def test_rows_are_added_up_page_by_page_by_partition_and_only_before_an_offset(index: HistoryIndex) -> None:
    for partition in (0, 1):
        events = [event(f"o{partition}-{number}", 1) for number in range(5)]
        index.add(TOPIC, partition, [indexed(each, at) for at, each in enumerate(events)], reached(5))
    at_once = {0: Sum(5), 1: Sum(3)}
    assert index.add_up("orders", b"", 100, at_once) == b""
    assert [(each.events, each.digest != 0) for each in at_once.values()] == [(5, True), (3, True)]
    paged, after, pages = {0: Sum(5), 1: Sum(3)}, b"", 0
    while pages == 0 or after:
        after = index.add_up("orders", after, 4, paged)
        pages += 1
    assert (paged, pages) == (at_once, 3)
    assert index.add_up("payments", b"", 100, nothing := {0: Sum(5)}) == b""
    assert nothing == {0: Sum(5)}
