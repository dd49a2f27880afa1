"""Stock commands against the rows of a partition: versions, answers, repeats, horizon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.envelope import Envelope, Message
from schemas.messages import (
    AdjustStock,
    AskStatus,
    CommandAnswered,
    OrderConfirmed,
    ReceiveStock,
    ReleaseStock,
    ReserveStock,
    ReturnStock,
    ShipStock,
    wire_type,
)
from streams.errors import CommandIdReused, UnexpectedMessage
from streams.inventory.commands import HORIZON, InventoryTables, handle
from streams.inventory.rows import hold_key
from streams.outgoing import Outgoing

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
SAGA, API = "/tally/sagas", "/tally/api"


def tables() -> InventoryTables:
    return InventoryTables({}, {}, {})


def command(body: Any, id_: str, source: str = SAGA, recorded_at: datetime = AT) -> Message:
    envelope = Envelope(id_, wire_type(type(body)), source, "inventory", "SKU", None, recorded_at, "affair", "cause")
    return Message(envelope, body)


def _events(out: list[Outgoing]) -> list[Any]:
    return [sent.message.body for sent in out if sent.topic == "inventory.events"]


def _answers(out: list[Outgoing]) -> list[CommandAnswered]:
    return [sent.message.body for sent in out if sent.topic == "sagas.replies"]


def test_events_of_a_sku_have_dense_versions_ids_from_their_command_and_its_affair() -> None:
    rows = tables()
    first = handle(command(ReceiveStock(5), "c1", API), rows, AT)
    second = handle(command(AdjustStock(-1, "lost"), "c2", API), rows, AT)
    assert [sent.message.envelope.version for sent in first + second] == [1, 2]
    envelope = second[0].message.envelope
    assert (envelope.subject, envelope.causation_id, envelope.correlation_id) == ("SKU", "c2", "affair")
    assert envelope.source == "/tally/inventory"
    assert handle(command(AdjustStock(-1, "lost"), "c2", API), tables(), AT) == []


def test_the_same_command_gives_the_same_event_ids() -> None:
    one = handle(command(ReceiveStock(5), "c1", API), tables(), AT)
    two = handle(command(ReceiveStock(5), "c1", API), tables(), AT)
    assert one == two


def test_a_saga_is_answered_on_its_own_key_and_others_are_not() -> None:
    rows = tables()
    handle(command(ReceiveStock(5), "c1", API), rows, AT)
    out = handle(command(ReserveStock("o1", 3, 2), "c2"), rows, AT)
    assert _answers(out) == [CommandAnswered("c2", "RESERVE_STOCK", "DONE", None, 3, 2)]
    assert out[-1].message.envelope.subject == "o1"
    assert out[-1].message.envelope.causation_id == "c2"
    assert _answers(handle(command(ReserveStock("o2", 1, 2), "c3", API), rows, AT)) == []


def test_a_repeated_command_is_answered_again_with_the_same_answer_and_no_event() -> None:
    rows = tables()
    handle(command(ReceiveStock(5), "c1", API), rows, AT)
    first = handle(command(ReserveStock("o1", 1, 2), "c2"), rows, AT)
    again = handle(command(ReserveStock("o1", 1, 2), "c2"), rows, AT + timedelta(days=40))
    assert _events(again) == []
    assert _answers(again) == _answers(first)
    assert again[-1].message.envelope.id == first[-1].message.envelope.id


def test_a_reservation_under_a_used_id_with_another_quantity_is_refused() -> None:
    rows = tables()
    handle(command(ReceiveStock(5), "c1", API), rows, AT)
    handle(command(ReserveStock("o1", 1, 2), "c2"), rows, AT)
    out = handle(command(ReserveStock("o1", 1, 3), "c2"), rows, AT)
    assert [(a.outcome, a.reason) for a in _answers(out)] == [("REFUSED", "COMMAND_ID_REUSED")]
    assert rows.levels["SKU"]["reserved"] == 2


def test_a_receipt_under_a_used_id_with_another_quantity_is_refused_by_name() -> None:
    rows = tables()
    handle(command(ReceiveStock(5), "c1", API), rows, AT)
    with pytest.raises(CommandIdReused):
        handle(command(ReceiveStock(6), "c1", API), rows, AT)
    assert rows.levels["SKU"]["on_hand"] == 5


def test_a_repeated_receipt_counts_once_and_its_row_tells_the_answer() -> None:
    rows = tables()
    out = handle(command(ReceiveStock(5), "c1", API), rows, AT)
    assert handle(command(ReceiveStock(5), "c1", API), rows, AT) == []
    assert rows.levels["SKU"]["on_hand"] == 5
    row = rows.commands["c1"]
    assert row["outcome"] == "DONE"
    assert row["sku"] == "SKU"
    assert row["version"] == 1
    assert row["event_ids"] == [out[0].message.envelope.id]
    assert row["recorded_at"] == "2026-05-01T12:00:00.000Z"


def test_a_refused_adjustment_is_remembered_with_its_reason() -> None:
    rows = tables()
    assert handle(command(AdjustStock(-1, "lost"), "c1", API), rows, AT) == []
    assert (rows.commands["c1"]["outcome"], rows.commands["c1"]["reason"]) == ("REFUSED", "BELOW_ZERO")
    assert "SKU" not in rows.levels


def test_a_command_older_than_the_horizon_is_refused_as_expired() -> None:
    rows = tables()
    old = AT - HORIZON - timedelta(seconds=1)
    assert handle(command(ReceiveStock(5), "c1", API, old), rows, AT) == []
    assert rows.commands["c1"]["reason"] == "EXPIRED"
    handle(command(ReceiveStock(5), "c2", API, AT - HORIZON), rows, AT)
    out = handle(command(ReserveStock("o1", 1, 1), "c3", SAGA, old), rows, AT)
    assert [(a.outcome, a.reason) for a in _answers(out)] == [("REFUSED", "EXPIRED")]
    assert rows.levels["SKU"] == {"on_hand": 5, "reserved": 0, "version": 1, "known": True}


def test_two_lines_of_one_order_with_one_sku_have_holds_of_their_own() -> None:
    rows = tables()
    handle(command(ReceiveStock(5), "c1", API), rows, AT)
    handle(command(ReserveStock("o1", 1, 2), "c2"), rows, AT)
    handle(command(ReserveStock("o1", 2, 2), "c3"), rows, AT)
    handle(command(ReleaseStock("o1", 1), "c4"), rows, AT)
    handle(command(ShipStock("o1", 2), "c5"), rows, AT)
    assert rows.holds[hold_key("SKU", "o1", 1)]["status"] == "RELEASED"
    assert rows.holds[hold_key("SKU", "o1", 2)]["status"] == "SHIPPED"
    assert rows.levels["SKU"] == {"on_hand": 3, "reserved": 0, "version": 5, "known": True}


def test_a_return_is_answered_by_its_number_and_kept_in_the_holds_row() -> None:
    rows = tables()
    handle(command(ReceiveStock(5), "c1", API), rows, AT)
    handle(command(ReserveStock("o1", 3, 2), "c2"), rows, AT)
    handle(command(ShipStock("o1", 3), "c3"), rows, AT)
    for id_ in ("c4", "c4"):
        out = handle(command(ReturnStock("o1", 3, 1, 7), id_), rows, AT)
        assert [(a.outcome, a.line) for a in _answers(out)] == [("DONE", 7)]
    assert rows.holds[hold_key("SKU", "o1", 3)]["returned"] == [[7, 1]]
    assert rows.levels["SKU"] == {"on_hand": 4, "reserved": 0, "version": 4, "known": True}


def test_a_message_without_business_on_the_topic_is_refused_by_name() -> None:
    with pytest.raises(UnexpectedMessage):
        handle(command(OrderConfirmed(), "c1"), tables(), AT)


def test_a_question_is_answered_from_the_hold_and_changes_nothing() -> None:
    rows = tables()
    handle(command(ReceiveStock(5), "c1", API), rows, AT)
    question = command(AskStatus("o1", "c2", "RESERVE_STOCK", 1), "ask")
    [unknown] = _answers(handle(question, rows, AT))
    handle(command(ReserveStock("o1", 1, 2), "c2"), rows, AT)
    before = (dict(rows.levels), dict(rows.holds), dict(rows.commands))
    [known] = _answers(handle(question, rows, AT))
    assert (unknown.outcome, known.outcome) == ("UNDECIDED", "DONE")
    assert (known.command_id, known.command_type, known.line) == ("c2", "RESERVE_STOCK", 1)
    assert before == (rows.levels, rows.holds, rows.commands)
