"""Folding into a version that is being built: once a row, and never at the cost of the live batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.envelope import Envelope, Message, new_id, now
from schemas.errors import Undecodable
from schemas.messages import StockReceived, wire_type
from schemas.topics import INVENTORY_EVENTS
from streams.read_models import stock
from streams.read_models.history import Row
from streams.read_models.table_of_tables import READ_MODELS, ReadModel, read_model
from streams.rebuilds.folding import Checked, Folded, fold

STOCK = read_model("stock")


class Counted(dict[str, Row]):
    """Rows that count how often each is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def prepare(self, keys: Iterable[str]) -> None:
        """They are in memory."""

    def __setitem__(self, key: str, row: Row) -> None:
        self.written.append(key)
        super().__setitem__(key, row)


def _received(sku: str, version: int) -> Message:
    id_ = new_id()
    envelope = Envelope(id_, wire_type(StockReceived), "/tally", "inventory", sku, version, now(), id_, id_)
    return Message(envelope, StockReceived(1, None, version, 0))


def test_a_row_of_many_events_is_written_once_and_repeats_change_nothing() -> None:
    rows, events = Counted(), [_received("a", 1), _received("b", 1), _received("a", 2), _received("a", 3)]
    assert fold(STOCK, rows, [*events, events[0]]) == Folded(5)
    assert sorted(rows.written) == ["a", "b"]
    assert rows["a"]["on_hand"] == 3
    assert fold(STOCK, rows, events) == Folded(4)
    assert sorted(rows.written) == ["a", "b"]


def test_counts_go_on_from_those_that_are_given() -> None:
    rows, folded = Counted(), Folded()
    for version in (1, 2, 4):
        fold(STOCK, rows, [_received("a", version)], folded)
    assert (folded.events, folded.faults) == (3, 1)


def test_what_cannot_be_read_or_folded_is_counted_and_the_others_go_on() -> None:
    rows = Counted()
    found = fold(STOCK, rows, [Undecodable("no prefix"), _received("a", 2), _received("b", 1)])
    assert (found.events, found.faults) == (3, 2)
    assert found.last_fault is not None
    assert found.last_fault.startswith("HistoryGap: ")
    assert list(rows) == ["b"]


def test_a_row_that_no_changelog_could_hold_is_a_fault_of_that_row() -> None:
    def evolve(row: Row | None, event: Message) -> Row | None:
        found = stock.evolve(row, event)
        return {**(found or {}), "seen": {1, 2}} if event.envelope.subject == "a" else found

    rows, model = Counted(), ReadModel("stock", INVENTORY_EVENTS, stock.key, evolve)
    found = fold(model, Checked(rows), [_received("a", 1), _received("b", 1)])
    assert (found.faults, list(rows)) == (1, ["b"])


def test_a_version_is_folded_by_the_newest_line_that_holds_from_then_on() -> None:
    def evolve(row: Row | None, event: Message) -> Row | None:
        return None

    lines: tuple[Any, ...] = (*READ_MODELS, ReadModel("stock", INVENTORY_EVENTS, stock.key, evolve, since=3))
    assert [read_model("stock", version, lines).evolve for version in (1, 2, 3, 4)] == [stock.evolve] * 2 + [evolve] * 2
