"""The generated codec against its oracle, the Avro library over the same schemas."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from bodies import messages
from hypothesis import given
from hypothesis import strategies as st

from schemas import generated
from schemas.catalogue import Entry, load
from schemas.codec import AvroCodec
from schemas.errors import Undecodable, Unencodable
from schemas.messages import MESSAGES, DeadlinePassed, OrderCreated, OrderLine, ReserveStock, SagaStepAnswered

CODEC, ORACLE = AvroCodec(), AvroCodec(generate=False)
CLASSES = {cls.__name__: cls for cls in MESSAGES.values()}
SAMPLES = [
    OrderCreated("c", "GBP", (OrderLine(1, "85123A", 2, 255), OrderLine(2, "x", 70, 9999)), 510, "card", "tok_ok"),
    SagaStepAnswered("reserve", "DONE", 3, None),
    DeadlinePassed("order", datetime(2026, 11, 25, tzinfo=UTC)),
]
foreign_values = st.none() | st.booleans() | st.floats() | st.text() | st.binary() | st.integers() | st.datetimes()


def outcome(work: Any, given: Any) -> Any:
    """What came of it: a value, or the class of the refusal."""
    try:
        return work(given)
    except (Undecodable, Unencodable) as refused:
        return type(refused)


@pytest.mark.parametrize("entry", load(), ids=lambda entry: f"{entry.subject}.{entry.version}")
def test_every_published_schema_is_covered(entry: Entry) -> None:
    cls = CLASSES[entry.class_name]
    assert generated.writer(cls, entry.schema, b"") is not None
    assert generated.reader(cls, entry.schema) is not None


@given(messages)
def test_the_same_bytes_are_written_and_the_same_value_is_read(body: Any) -> None:
    payload = CODEC.encode(body)
    assert payload == ORACLE.encode(body)
    assert CODEC.decode(payload) == ORACLE.decode(payload) == body


@given(messages, st.data())
def test_a_value_that_does_not_fit_is_refused_by_both(body: Any, data: st.DataObject) -> None:
    names = [field.name for field in fields(body)]
    if names:
        name = data.draw(st.sampled_from(names))
        wrong = replace(body, **{name: data.draw(foreign_values)})
        assert outcome(CODEC.encode, wrong) == outcome(ORACLE.encode, wrong)


@given(messages, st.data())
def test_every_cut_is_undecodable(body: Any, data: st.DataObject) -> None:
    payload = CODEC.encode(body)
    cut = payload[: data.draw(st.integers(0, len(payload) - 1))]
    assert outcome(CODEC.decode, cut) is outcome(ORACLE.decode, cut) is Undecodable


@given(messages, st.binary(min_size=1, max_size=12))
def test_every_tail_is_undecodable(body: Any, tail: bytes) -> None:
    with pytest.raises(Undecodable, match=f"{len(tail)} bytes are left over"):
        CODEC.decode(CODEC.encode(body) + tail)


def agree(payload: bytes) -> None:
    """Both say the same of these bytes; only what no writer writes may be refused by the generated one alone."""
    ours, theirs = outcome(CODEC.decode, payload), outcome(ORACLE.decode, payload)
    if ours is Undecodable and theirs is not Undecodable:
        assert outcome(ORACLE.encode, theirs) != payload
    else:
        assert ours == theirs


@given(st.sampled_from(load()), st.binary(max_size=200))
def test_foreign_bytes_mean_the_same_to_both(entry: Entry, tail: bytes) -> None:
    agree(b"\x00" + entry.id.to_bytes(4, "big") + tail)


@given(messages, st.data())
def test_flipped_bytes_mean_the_same_to_both(body: Any, data: st.DataObject) -> None:
    payload = bytearray(CODEC.encode(body))
    if len(payload) > 5:
        payload[data.draw(st.integers(5, len(payload) - 1))] = data.draw(st.integers(0, 255))
        agree(bytes(payload))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_other_bytes_at_any_place_of_a_sample_mean_the_same_to_both(sample: Any) -> None:
    payload = CODEC.encode(sample)
    for at in range(5, len(payload)):
        for byte in range(0, 256, 3):
            agree(payload[:at] + bytes((byte,)) + payload[at + 1 :])


def body_of(cls: type, tail: bytes) -> bytes:
    return CODEC.encode(SAMPLES[1] if cls is SagaStepAnswered else ReserveStock("o", 1, 1))[:5] + tail


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (b"\x02a\x02b\x01", "no branch -1"),
        (b"\x02a\x02b\x04", "no branch 2"),
        (b"\x02a\x02b\x02\xff\xff\xff\xff\xff\x01\x00", "wider than its type"),
        (b"\x02a\x02b\x02" + b"\x80" * 11 + b"\x00\x00", "more than ten bytes"),
        (b"\x01a\x02b\x00\x00", "length below zero"),
        (b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01a", "IndexError"),
    ],
)
def test_what_no_writer_writes_is_refused(tail: bytes, reason: str) -> None:
    with pytest.raises(Undecodable, match=reason):
        CODEC.decode(body_of(SagaStepAnswered, tail))


def test_a_list_in_blocks_with_their_sizes_is_read() -> None:
    # Count -2 with 12 bytes behind it, then a block of one, as other writers may split what we write in one block.
    line = b"\x02\x02a\x02\x02"
    written = CODEC.encode(OrderCreated("c", "GBP", (OrderLine(1, "a", 1, 1),) * 3, 3, "card", "t"))
    blocks = b"\x03\x14" + line * 2 + b"\x02" + line
    assert CODEC.decode(written.replace(b"\x06" + line * 3, blocks)) == CODEC.decode(written)


def test_a_huge_count_ends_with_the_bytes() -> None:
    written = CODEC.encode(OrderCreated("c", "GBP", (), 3, "card", "t"))
    count = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    with pytest.raises(Undecodable):
        CODEC.decode(written[:11] + count + written[11:])


@pytest.mark.parametrize("moment", [datetime(2026, 11, 25), 1_700_000_000_000, "2026"])
def test_a_moment_without_a_time_zone_is_refused(moment: Any) -> None:
    for codec in (CODEC, ORACLE):
        with pytest.raises(Unencodable, match="not a moment with a time zone"):
            codec.encode(DeadlinePassed("order", moment))


def test_a_moment_of_another_zone_is_written_as_utc() -> None:
    moment = datetime(2026, 11, 25, 9, tzinfo=timezone(timedelta(hours=9)))
    assert CODEC.decode(CODEC.encode(DeadlinePassed("order", moment))).due_at == datetime(2026, 11, 25, tzinfo=UTC)


def test_what_was_read_is_as_frozen_as_what_was_made() -> None:
    made = SAMPLES[0]
    read = CODEC.decode(CODEC.encode(made))
    assert type(read) is OrderCreated
    assert (hash(read), repr(read)) == (hash(made), repr(made))
    with pytest.raises(FrozenInstanceError):
        read.lines[0].quantity = 3


@dataclass(frozen=True, slots=True)
class Measured:
    ratio: float
    note: str | None = None


def test_a_schema_that_is_not_covered_is_said_by_the_fields_name() -> None:
    schema = {"type": "record", "name": "Measured", "fields": [{"name": "ratio", "type": "double"}]}
    with pytest.raises(generated.Uncovered, match="ratio: double"):
        generated.reader(Measured, schema)
    with pytest.raises(generated.Uncovered, match="ratio: double"):
        generated.writer(Measured, schema, b"")


@dataclass(frozen=True, slots=True)
class Noted:
    text: str
    note: str | None = None


def test_a_field_that_an_older_schema_lacks_takes_its_default_and_one_that_left_is_passed_over() -> None:
    text = {"name": "text", "type": "string"}
    older = {"type": "record", "name": "Noted", "fields": [text]}
    left = {"type": "record", "name": "Noted", "fields": [{"name": "gone", "type": "long"}, text]}
    assert generated.reader(Noted, older)(b"12345\x02a") == Noted("a")
    assert generated.reader(Noted, left)(b"12345\x07\x02a") == Noted("a")
