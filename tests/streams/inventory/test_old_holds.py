"""When a hold asks its saga: once it is old, now and then as long as it is held, never when it was given back."""

from __future__ import annotations

from datetime import timedelta

from schemas.messages import AskAboutHold
from schemas.topics import SAGAS_DEADLINES
from streams.inventory.old_holds import ASKED_AT_ONCE_MAX, ASKS_AFTER, ASKS_AGAIN_AFTER, OldHolds
from streams.inventory.rows import Row, hold_key, hold_to_row
from streams.inventory.stock import Hold, HoldStatus
from streams.scenario import MOMENT

SECOND = timedelta(seconds=1)
KEY = hold_key("SKU", "o1", 3)


def _row(status: HoldStatus = HoldStatus.HELD) -> Row:
    return hold_to_row(Hold(2, status, None, "c1", 5, held_at=MOMENT if status is HoldStatus.HELD else None))


def _asked(rows: dict[str, Row]) -> OldHolds:
    old = OldHolds("/tally/inventory")
    old.restore(0, rows)
    return old


def test_a_hold_asks_when_it_is_old_and_not_before() -> None:
    rows = {KEY: _row()}
    old = _asked(rows)
    assert old.ask(0, rows, MOMENT + ASKS_AFTER - SECOND) == []
    [question] = old.ask(0, rows, MOMENT + ASKS_AFTER)
    assert (question.topic, question.message.envelope.subject) == (SAGAS_DEADLINES, "o1")
    assert question.message.body == AskAboutHold("SKU", 3)


def test_a_hold_that_stays_asks_again_later() -> None:
    rows = {KEY: _row()}
    old, asked_at = _asked(rows), MOMENT + ASKS_AFTER
    [first] = old.ask(0, rows, asked_at)
    assert old.ask(0, rows, asked_at + ASKS_AGAIN_AFTER - SECOND) == []
    [second] = old.ask(0, rows, asked_at + ASKS_AGAIN_AFTER)
    assert first.message.envelope.id != second.message.envelope.id


def test_what_was_given_back_meanwhile_asks_nothing_more() -> None:
    rows = {KEY: _row()}
    old = _asked(rows)
    rows[KEY] = _row(HoldStatus.RELEASED)
    assert old.ask(0, rows, MOMENT + ASKS_AFTER) == []


def test_a_hold_of_a_version_that_noted_no_moment_asks_at_once() -> None:
    rows = {KEY: {name: value for name, value in _row().items() if name != "held_at"}}
    assert len(_asked(rows).ask(0, rows, MOMENT)) == 1


def test_holds_are_noted_as_they_are_made_and_only_those_that_are_held() -> None:
    rows = {KEY: _row(), hold_key("SKU", "o2", 1): _row(HoldStatus.REFUSED)}
    old = OldHolds("/tally/inventory")
    old.note(0, rows, [*rows, "SKU\x1fgone\x1f1"])
    assert len(old.ask(0, rows, MOMENT + ASKS_AFTER)) == 1


def test_many_old_holds_ask_in_bounded_numbers() -> None:
    rows = {hold_key("SKU", f"o{number}", 1): _row() for number in range(ASKED_AT_ONCE_MAX + 5)}
    old = _asked(rows)
    assert len(old.ask(0, rows, MOMENT + ASKS_AFTER)) == ASKED_AT_ONCE_MAX
    assert len(old.ask(0, rows, MOMENT + ASKS_AFTER)) == 5


def test_a_partition_that_was_let_go_asks_nothing() -> None:
    rows = {KEY: _row()}
    old = _asked(rows)
    old.drop(0)
    assert old.ask(0, rows, MOMENT + ASKS_AFTER) == []
