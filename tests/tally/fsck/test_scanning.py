"""Each fault that can be planted in a partition is found, with its place and its remedy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from producers.orders.aggregate import ORDERS
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message
from schemas.histories import Sum, to_row
from schemas.keys import SEPARATOR
from schemas.messages import (
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    SagaEnded,
    StockReceived,
    StockReserved,
    WalletCredited,
    wire_type,
)
from schemas.partitioning import partition_of
from schemas.records import encode_record
from streams.read_models.orders_by_customer import rekey
from streams.replay.folding import replay
from tally.audit.report import Finding
from tally.fsck.rows import TABLES, KeptRow, Row, RowsByTable, aggregate_of
from tally.fsck.scanning import REMEDY, Head, Kept, Scan
from tally.reading.reader import Record

CODEC = AvroCodec()
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
ORDER, SKU = "o1", "sku-3"
PARTITION = partition_of(ORDER.encode(), 4)
CREATED = OrderCreated("guest", "GBP", (OrderLine(1, SKU, 6, 255),), 1530, "card", "tok_ok")


def event(body: Any, version: int, kind: str = "orders", subject: str = ORDER, id_: str = "") -> Message:
    id_ = id_ or f"{kind}-{subject}-{version}"
    return Message(Envelope(id_, wire_type(type(body)), "/t", kind, subject, version, NOON, "c", "c"), body)


@dataclass
class Partition:
    """The records of one partition and what else holds their state: sound, until a fault is planted."""

    messages: list[Message]
    kept: Kept = field(default_factory=Kept)
    rows: dict[str, dict[str, Row]] | None = None
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        for message in self.messages:
            self.write(message)

    def write(self, message: Message, **changes: Any) -> None:
        key, value, headers = encode_record(message, CODEC)
        topic = f"{message.envelope.aggregatetype}.events"
        record = Record(topic, PARTITION, len(self.records), 0, key, value, list(headers))
        self.records.append(record._replace(**changes))

    def scanned(self) -> Scan:
        kept = self.kept if self.rows is None else replace(self.kept, rows=as_kept(self.rows))
        scan = Scan(CODEC, PARTITION, kept)
        for record in self.records:
            scan.take(record)
        return scan

    def findings(self) -> list[Finding]:
        return self.scanned().finish()

    def said(self) -> list[tuple[str, str]]:
        found = self.findings()
        assert all(finding.message.endswith(REMEDY[finding.check]) for finding in found)
        return [(finding.check, finding.place) for finding in found]


def as_kept(rows: dict[str, dict[str, Row]]) -> RowsByTable:
    return {
        table: {key: KeptRow(row["version"], orjson.dumps(row)) for key, row in held.items()}
        for table, held in rows.items()
    }


def sku() -> str:
    """A SKU that lies in the order's partition."""
    return next(name for name in (f"sku-{n}" for n in range(100)) if partition_of(name.encode(), 4) == PARTITION)


@pytest.fixture
def sound() -> Partition:
    """An order with two events, a SKU with two and a saga with one, with head row and table rows."""
    messages = [
        event(CREATED, 1),
        event(StockReceived(10, None, 10, 0), 1, "inventory", sku()),
        event(StockReserved(ORDER, 1, 6, 10, 6), 2, "inventory", sku()),
        event(OrderConfirmed(), 2),
        event(SagaEnded("CONFIRMED", None), 1, "sagas"),
    ]
    state = ORDERS.evolve(ORDERS.evolve(ORDERS.initial, CREATED), OrderConfirmed())
    folded = replay((f"{message.envelope.aggregatetype}.events", message) for message in messages)
    orders = folded.orders[ORDER]
    listed = rekey(orders, messages[3], NOON).message
    rows = {table: getattr(folded, table) for table in TABLES}
    rows["orders_by_customer"] = replay([("orders_by_customer.rekey", listed)]).orders_by_customer
    assert [table for table, held in rows.items() if len(held) != 1] == []
    head = head_of(ORDERS.form.to_json(state), 2, ORDERS.form.version)
    return Partition(messages, Kept({("orders", ORDER): head}, gated=frozenset({"orders"})), rows)


def head_of(snapshot: Row, version: int, form: int) -> Head:
    return Head(version, orjson.dumps(snapshot).decode(), form)


def test_a_sound_partition_has_no_findings(sound: Partition) -> None:
    assert sound.said() == []


def test_what_was_compared_is_counted(sound: Partition) -> None:
    scan = sound.scanned()
    assert (scan.records, scan.aggregates, scan.snapshots, scan.compared_rows) == (5, 3, 1, 6)


def test_events_newer_than_head_and_rows_are_no_fault(sound: Partition) -> None:
    sound.write(event(OrderCancelled("LATE"), 3))
    assert sound.said() == []


@pytest.mark.parametrize(
    "value", [None, b"", b"\x00\x00\x00\x00\x07", b"{}", CODEC.encode(CREATED)[:-1], CODEC.encode(CREATED) + b"\x00"]
)
def test_bytes_that_cannot_be_read_are_found(sound: Partition, value: bytes | None) -> None:
    sound.write(event(CREATED, 3), value=value)
    assert sound.said() == [("records-are-readable", f"orders.events/{PARTITION}/5")]


def test_an_event_under_another_key_topic_or_partition_is_found(sound: Partition) -> None:
    sound.write(event(OrderCancelled("x"), 3), key=b"other")
    sound.write(event(OrderCancelled("x"), 4), topic="payments.events")
    sound.write(event(OrderCancelled("x"), 5), partition=(PARTITION + 1) % 4)
    assert sound.said()[:2] == [
        ("keys-are-subjects", f"orders.events/{PARTITION}/5"),
        ("keys-are-subjects", f"payments.events/{PARTITION}/6"),
    ]
    assert sound.said()[2][0] == "keys-are-subjects"


def test_a_gap_is_found_once_and_names_what_lacks(sound: Partition) -> None:
    for version in (5, 6, 7):
        sound.write(event(OrderCancelled("x"), version))
    (found,) = sound.findings()
    assert (found.check, found.place) == ("versions-are-dense", "orders/o1")
    assert found.message.startswith("version 3 lacks before version 5")


def test_an_event_that_stands_behind_its_successor_is_found(sound: Partition) -> None:
    sound.write(event(OrderCancelled("x"), 4))
    sound.write(event(OrderCancelled("x"), 3))
    assert sound.said() == [("versions-are-dense", "orders/o1"), ("versions-are-dense", "orders/o1@3")]


def test_an_event_without_a_version_is_found(sound: Partition) -> None:
    message = event(OrderCancelled("x"), 3)
    sound.write(Message(replace(message.envelope, version=None), message.body))
    assert sound.said() == [("versions-are-dense", f"orders.events/{PARTITION}/5")]


def test_an_event_that_stands_twice_is_found(sound: Partition) -> None:
    sound.write(event(CREATED, 1))
    assert sound.said() == [("published-once", "orders/o1@1")]


@pytest.mark.parametrize("other", [event(OrderCancelled("y"), 2), event(OrderConfirmed(), 2, id_="other")])
def test_a_version_seen_already_with_other_content_is_found(sound: Partition, other: Message) -> None:
    sound.write(other)
    assert sound.said() == [("histories-do-not-fork", "orders/o1@2")]


def test_a_head_beyond_its_topic_is_found(sound: Partition) -> None:
    head = sound.kept.heads["orders", ORDER]
    sound.kept.heads["orders", ORDER] = head._replace(version=3)
    sound.kept.heads["payments", "p9"] = head._replace(version=1)
    assert sound.said() == [("heads-agree", "orders/o1"), ("heads-agree", "payments/p9")]


def test_a_history_without_a_head_row_is_found(sound: Partition) -> None:
    del sound.kept.heads["orders", ORDER]
    assert sound.said() == [("heads-agree", "orders/o1")]


@pytest.mark.parametrize("change", [{"status": "CREATED"}, {"total_minor": 1}, {"lines": []}])
def test_a_snapshot_that_is_not_the_fold_is_found(sound: Partition, change: dict[str, Any]) -> None:
    head = sound.kept.heads["orders", ORDER]
    changed = {**orjson.loads(head.snapshot or ""), **change}
    sound.kept.heads["orders", ORDER] = head_of(changed, head.version, head.snapshot_version)
    assert sound.said() == [("snapshots-are-folds", "orders/o1")]


def test_a_snapshot_of_an_older_form_that_is_the_fold_is_no_fault(sound: Partition) -> None:
    head = sound.kept.heads["orders", ORDER]
    older = {name: kept for name, kept in orjson.loads(head.snapshot or "").items() if name != "returned"}
    sound.kept.heads["orders", ORDER] = head_of(older, head.version, 2)
    assert sound.said() == []


@pytest.mark.parametrize(("snapshot", "form"), [("{}", 1), ('{"status": "CREATED"}', 9), (None, 3)])
def test_a_snapshot_that_cannot_be_read_is_found(sound: Partition, snapshot: str | None, form: int) -> None:
    sound.kept.heads["orders", ORDER] = Head(2, snapshot, form)
    assert sound.said() == [("snapshots-are-folds", "orders/o1")]


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("orders", {"status": "SHIPPED"}),
        ("orders_by_customer", {"total_minor": 1}),
        ("stock", {"on_hand": 11}),
        ("stock_levels", {"reserved": 5}),
        ("holds", {"quantity": 5}),
        ("order_sagas", {"outcome": "REJECTED"}),
    ],
)
def test_a_row_that_is_not_the_fold_is_found_by_its_field(sound: Partition, table: str, change: Row) -> None:
    assert sound.rows is not None
    ((key, row),) = sound.rows[table].items()
    row.update(change)
    (found,) = sound.findings()
    assert (found.check, found.place) == ("tables-agree", f"{table}/{key.replace(SEPARATOR, '/')}")
    assert found.message.startswith(f"differs from the fold in {next(iter(change))}")


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_lacks_or_has_no_history_or_runs_ahead_is_found(sound: Partition, table: str) -> None:
    assert sound.rows is not None
    rows = sound.rows[table]
    ((key, row),) = rows.items()
    row["version"] = 9
    assert sound.said() == [("tables-agree", f"{table}/{key.replace(SEPARATOR, '/')}")]
    del rows[key]
    assert sound.said() == [("tables-agree", f"{table}/{key.replace(SEPARATOR, '/')}")]
    rows["ghost"] = {"version": 1}
    assert ("tables-agree", f"{table}/ghost") in sound.said()


@pytest.mark.parametrize(
    ("table", "key", "aggregate"),
    [
        ("orders", "o1", "o1"),
        ("orders_by_customer", f"c{SEPARATOR}1{SEPARATOR}o1", "o1"),
        ("holds", f"sku{SEPARATOR}o1{SEPARATOR}1", "sku"),
    ],
)
def test_a_row_is_looked_for_where_its_history_lies(table: str, key: str, aggregate: str) -> None:
    assert aggregate_of(table, key) == aggregate


def test_an_index_that_holds_what_the_topic_holds_is_no_fault(sound: Partition) -> None:
    # A repeat is dropped by the index, and what cannot be decoded is kept in it as it lies there.
    sound.write(sound.messages[0])
    sound.kept.indexed["orders"] = what_an_index_holds(sound, until=99)
    assert "index-agrees" not in checks(sound.findings())


@pytest.mark.parametrize("until", [1, 99])
def test_an_index_that_lacks_an_event_or_holds_another_is_found(sound: Partition, until: int) -> None:
    held = what_an_index_holds(sound, until)
    sound.kept.indexed["orders"] = replace(held, events=held.events - 1)
    assert "index-agrees" in checks(sound.findings())
    sound.kept.indexed["orders"] = replace(held, digest=held.digest ^ 1)
    (found,) = [finding for finding in sound.findings() if finding.check == "index-agrees"]
    assert (found.place, "they differ" in found.message) == (f"orders.events/{PARTITION}", True)


def what_an_index_holds(partition: Partition, until: int) -> Sum:
    total, seen = Sum(until), set()
    for record in partition.records:
        envelope = Envelope.from_headers(record.headers)
        key = (envelope.subject, envelope.version)
        if envelope.aggregatetype == "orders" and key not in seen:
            total.add(to_row(record.partition, record.offset, record.headers, record.value or b""))
            seen.add(key)
    return total


def checks(findings: list[Finding]) -> set[str]:
    return {finding.check for finding in findings}


def test_a_wallets_snapshot_that_is_not_the_fold_is_found() -> None:
    credited = event(WalletCredited("c", 100, "GBP", 100), 1, "wallets", ORDER)
    head = head_of({"balance_minor": 100, "currency": "GBP"}, 1, 1)
    sound = Partition([credited], Kept({("wallets", ORDER): head}, gated=frozenset({"wallets"})))
    assert sound.findings() == []
    head = head_of({"balance_minor": 99, "currency": "GBP"}, 1, 1)
    planted = Partition([credited], Kept({("wallets", ORDER): head}, gated=frozenset({"wallets"})))
    assert checks(planted.findings()) == {"snapshots-are-folds"}
