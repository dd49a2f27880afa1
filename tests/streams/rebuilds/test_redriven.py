"""A record that was set aside and is handled while a build is under way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest

from faust_rdkafka import RawRecord
from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import StockReceived, wire_type
from schemas.table_versions import Versions
from schemas.topics import INVENTORY_EVENTS
from streams.read_models.table_of_tables import READ_MODELS, read_model
from streams.rebuilds.building import TABLE, Rebuilds

BUILDING = Versions(1, 2, 2)


class Rows(dict[str, Any]):
    """A partition in memory."""

    def prepare(self, keys: Iterable[str]) -> None:
        """They are in memory."""


class MemoryTable:
    """Rows by partition."""

    def __init__(self, version: int = 1) -> None:
        self.version = version
        self.rows: dict[int, Rows] = defaultdict(Rows)

    def partition(self, number: int) -> Rows:
        return self.rows[number]


class MemoryApp:
    """As much of an App as a build asks for between two batches."""

    def Table(self, name: str, version: int = 1) -> MemoryTable:
        return MemoryTable(version)

    def on_partitions_restored(self, callback: Any) -> None: ...

    def on_partitions_dropped(self, callback: Any) -> None: ...

    def batch_timer(self, interval_s: float) -> Any:
        return lambda function: function


class Reading:
    """Inputs that tell whether they were closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("offset", "in_step", "closed"), [(4, False, True), (4, True, False), (9, False, False)])
def test_what_was_folded_ahead_is_folded_again_where_a_record_behind_it_changes_rows(
    offset: int, in_step: bool, closed: bool
) -> None:
    app: Any = MemoryApp()
    tables = {"stock": MemoryTable(), TABLE: MemoryTable()}
    rebuilds = Rebuilds(app, tables, {"stock": read_model("stock")}, READ_MODELS, lambda headers, value: None)
    rebuilds.declare({"stock": BUILDING})
    build, reading = rebuilds.build("stock"), Reading()
    assert build is not None
    build.in_step, build.inputs = {0: in_step}, reading  # type: ignore[assignment]
    tables[TABLE].partition(0)[build.key] = {"next_offset": 7, "events": 6, "faults": 1, "last_fault": "gap"}
    record = RawRecord(INVENTORY_EVENTS, 0, offset, 0.0, b"sku", b"", [])
    rebuilds.redriven("stock", record, _received("sku"))
    assert reading.closed == closed
    assert (build.inputs is None) == closed
    folded = offset < 7
    assert ("sku" in build.table.partition(0)) == folded
    assert tables[TABLE].partition(0)[build.key]["events"] == 6 + folded


def _received(sku: str) -> Message:
    id_ = new_id()
    envelope = Envelope(id_, wire_type(StockReceived), "/tally", "inventory", sku, 1, now(), id_, id_)
    return Message(envelope, StockReceived(1, None, 1, 0))
