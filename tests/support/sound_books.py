"""Records of a small shop whose books balance, for tests that plant a fault in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from schemas.codec import AvroCodec
from schemas.envelope import from_rfc3339
from schemas.messages import (
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentRequested,
    SagaEnded,
    SagaLine,
    SagaStarted,
    StockReceived,
    StockReserved,
    wire_type,
)
from tally.audit.expected import EXPECTED
from tally.audit.folding import fold
from tally.audit.views import Books, Head, OutboxRow, Service
from tally.reading.reader import Record

CODEC = AvroCodec()
BEGAN_MS = 1_795_521_600_000
LATER_MS = BEGAN_MS + 600_000
ENDS_BY = from_rfc3339("2026-11-24T12:01:00.000Z")
SOURCES = {"orders": "/tally/orders", "payments": "/tally/payments"}


@dataclass
class Shop:
    """The records of a shop, in the order in which they were written; `books` folds what stands there then."""

    records: list[Record] = field(default_factory=list)

    def write(self, aggregatetype: str, subject: str, version: int, body: Any, id_: str | None = None) -> Record:
        """One event on its topic."""
        offset = len(self.records)
        headers = {
            "ce_id": id_ or f"{aggregatetype}-{subject}-{version}",
            "ce_type": wire_type(type(body)),
            "ce_subject": subject,
            "ce_source": SOURCES.get(aggregatetype, f"/tally/{aggregatetype}"),
            "aggregateversion": str(version),
        }
        record = Record(
            topic=f"{aggregatetype}.events",
            partition=0,
            offset=offset,
            timestamp_ms=BEGAN_MS + offset,
            key=subject.encode(),
            value=CODEC.encode(body),
            headers=[(name, value.encode()) for name, value in headers.items()],
        )
        self.records.append(record)
        return record

    def books(self) -> Books:
        """Books in which databases, tables and copies say just what the records say."""
        histories = fold(self.records, CODEC)
        tables = {name: dict(rows(histories)) for name, rows in EXPECTED.items()}
        copies = {name: {key: dict(row) for key, row in tables[name].items()} for name in ("orders", "stock")}
        orders = {
            id_: Head(
                order.version,
                {
                    "status": order.status,
                    "reason": order.reason,
                    "customer_id": order.customer_id,
                    "total_minor": order.total_minor,
                    "lines": [list(line) for line in order.lines],
                    "returned": [list(entry) for entry in sorted(order.returned.items())],
                },
            )
            for id_, order in histories.orders.items()
        }
        payments = {id_: Head(p.version, {"status": p.status}) for id_, p in histories.payments.items()}
        services = {
            "orders": Service(orders, self._outbox("orders")),
            "payments": Service(payments, self._outbox("payments")),
        }
        return Books(histories, services, tables, copies, LATER_MS)

    def _outbox(self, service: str) -> tuple[OutboxRow, ...]:
        rows = {}
        for record in self.records:
            headers = {name: (value or b"").decode() for name, value in record.headers}
            if record.topic == f"{service}.events":
                row = OutboxRow(
                    headers["ce_id"], record.topic, service, headers["ce_subject"], int(headers["aggregateversion"])
                )
                rows[row.id] = row
        return tuple(rows.values())


def shop() -> Shop:
    """Ten units received, two of them held for the confirmed and paid order `o1`."""
    made = Shop()
    lines = (OrderLine(1, "sku", 2, 100),)
    made.write("inventory", "sku", 1, StockReceived(10, None, 10, 0))
    made.write("orders", "o1", 1, OrderCreated("c1", "GBP", lines, 200, "card", "tok_ok"))
    made.write("sagas", "o1", 1, SagaStarted("c1", "GBP", 200, "card", "tok_ok", (SagaLine(1, "sku", 2),), ENDS_BY))
    made.write("inventory", "sku", 2, StockReserved("o1", 1, 2, 10, 2))
    for version, event in enumerate((PaymentRequested, PaymentAuthorised), 1):
        made.write("payments", "o1", version, event("o1", 200, "GBP", "tok_ok"))
    made.write("orders", "o1", 2, OrderConfirmed())
    made.write("payments", "o1", 3, PaymentCaptured("o1", 200, "GBP", "tok_ok"))
    made.write("sagas", "o1", 2, SagaEnded("CONFIRMED"))
    return made
