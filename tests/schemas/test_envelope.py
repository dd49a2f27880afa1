"""The envelope: headers there and back, ids that are worked out, times."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, derive_id, from_rfc3339, new_id, to_json, to_rfc3339
from schemas.errors import Undecodable
from schemas.messages import OrderCancelled, OrderShipped
from schemas.records import decode_record, encode_record

MOMENT = datetime(2026, 11, 24, 17, 32, 6, 120000, UTC)
CODEC = AvroCodec()


def envelope(**changes: object) -> Envelope:
    values: dict[str, object] = {
        "id": "m1",
        "type": "ORDER_CANCELLED",
        "source": "/tally/orders",
        "aggregatetype": "orders",
        "subject": "o1",
        "version": 2,
        "recorded_at": MOMENT,
        "correlation_id": "c1",
        "causation_id": "k1",
    }
    return Envelope(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{}, {"version": None}, {"traceparent": "00-a-b-01"}])
def test_an_envelope_comes_back_from_its_headers(changes: dict[str, object]) -> None:
    there = envelope(**changes)
    assert Envelope.from_headers(there.headers()) == there


def test_headers_are_named_as_the_interface_says() -> None:
    assert {name for name, _ in envelope(traceparent="t").headers()} == {
        "ce_specversion",
        "ce_id",
        "ce_type",
        "ce_source",
        "ce_time",
        "ce_subject",
        "aggregatetype",
        "aggregateversion",
        "correlationid",
        "causationid",
        "traceparent",
    }


@pytest.mark.parametrize("name", ["ce_id", "ce_type", "ce_time", "ce_subject"])
def test_a_missing_header_is_named(name: str) -> None:
    headers = [pair for pair in envelope().headers() if pair[0] != name]
    with pytest.raises(Undecodable, match=r"header (ce_\w+|id) is missing"):
        Envelope.from_headers(headers)


def test_debeziums_id_header_stands_in_for_ce_id() -> None:
    headers = [("id" if name == "ce_id" else name, value) for name, value in envelope().headers()]
    assert Envelope.from_headers(headers).id == "m1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_time", b"yesterday"),
        ("ce_time", b"2026-11-24T10:00:00"),
        ("aggregateversion", b"two"),
        ("ce_type", b"\xff"),
    ],
)
def test_a_header_that_cannot_be_read_makes_the_record_undecodable(name: str, value: bytes) -> None:
    with pytest.raises(Undecodable, match="header"):
        Envelope.from_headers([*envelope().headers(), (name, value)])


def test_header_and_body_must_agree_on_the_type() -> None:
    _, _, headers = encode_record(Message(envelope(), OrderCancelled("changed my mind")), CODEC)
    with pytest.raises(Undecodable, match="ORDER_CANCELLED, the body is a ORDER_SHIPPED"):
        decode_record(headers, CODEC.encode(OrderShipped()), CODEC)


def test_a_derived_id_is_the_same_each_time_and_different_at_each_place() -> None:
    assert derive_id("cause", 1, "a") == derive_id("cause", 1, "a")


@given(st.text(max_size=50), st.lists(st.one_of(st.integers(), st.text(max_size=20)), max_size=4))
def test_a_derived_id_is_a_uuid_of_version_5(cause: str, place: list[object]) -> None:
    # Derived ids are in topics for ever: RFC 9562, version 5, in our name space.
    space = uuid.UUID("6d5f0c4e-3f9b-5d55-9f0e-5d2d0c7a1b11")
    assert derive_id(cause, *place) == str(uuid.uuid5(space, "\x1f".join([cause, *map(str, place)])))


def test_a_fresh_id_is_a_uuid_of_version_4_in_its_one_spelling() -> None:
    ids = [new_id() for _ in range(100)]
    assert [str(uuid.UUID(id_)) for id_ in ids] == ids
    assert {(uuid.UUID(id_).version, uuid.UUID(id_).variant) for id_ in ids} == {(4, uuid.RFC_4122)}
    assert len(set(ids)) == len(ids)


def test_times_are_utc_with_milliseconds() -> None:
    tokyo = MOMENT.astimezone(timezone(timedelta(hours=9)))
    assert to_rfc3339(tokyo) == "2026-11-24T17:32:06.120Z"
    assert from_rfc3339("2026-11-24T17:32:06.120Z") == MOMENT
    with pytest.raises(ValueError, match="time zone"):
        to_rfc3339(datetime(2026, 11, 24))


def test_people_see_the_six_fields_of_the_event_envelope() -> None:
    assert to_json(Message(envelope(), OrderCancelled("changed my mind"))) == {
        "id": "m1",
        "type": "ORDER_CANCELLED",
        "aggregateId": "o1",
        "data": {"reason": "changed my mind"},
        "timestamp": "2026-11-24T17:32:06.120Z",
        "version": 2,
    }
