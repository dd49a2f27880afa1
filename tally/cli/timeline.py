"""The timeline of one saga: all messages of its affair, of every topic, with places, times and attempts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from schemas.codec import AvroCodec
from schemas.envelope import from_rfc3339
from schemas.topics import (
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    ORDERS_COMMANDS,
    ORDERS_EVENTS,
    PAYMENTS_COMMANDS,
    PAYMENTS_EVENTS,
    SAGAS_DEADLINES,
    SAGAS_EVENTS,
    SAGAS_REPLIES,
)
from tally.cli.consume import Wanted, records
from tally.cli.records import to_row
from tally.reading.places import Kind, Place, Span
from tally.reading.reader import Reader, Record

COLUMNS = ("timestamp", "topic", "partition", "offset", "type", "attempt", "data")
_BY_ORDER = (
    ORDERS_EVENTS,
    SAGAS_EVENTS,
    ORDERS_COMMANDS,
    PAYMENTS_COMMANDS,
    PAYMENTS_EVENTS,
    SAGAS_REPLIES,
    SAGAS_DEADLINES,
)
_BY_SKU = (INVENTORY_COMMANDS, INVENTORY_EVENTS)
# The order was written before its saga heard of it; nothing of the affair is older than this.
_BEFORE_MS = 60_000

Row = dict[str, Any]


def timeline(reader: Reader, saga: Row) -> list[Row]:
    """The messages of a saga (as its owner shows it), in the order of their times. `attempt` counts a command's sendings."""
    started_at = from_rfc3339(saga["started_at"])
    since = Span(Place(Kind.MOMENT, round(started_at.timestamp() * 1_000) - _BEFORE_MS))
    codec, order_id = AvroCodec(), saga["order_id"]
    rows = [to_row(record, codec) for record in records(reader, Wanted(_BY_ORDER, since, order_id), True)]
    skus = {
        line["sku"] for row in rows if row["type"] == "SAGA_STARTED" and row["data"] for line in row["data"]["lines"]
    }
    rows += [to_row(record, codec) for record in _of_stock(reader, since, skus, saga["correlation_id"])]
    # Within one moment causes stand before what they cause: topics in the order in which an affair goes through them.
    rows.sort(key=lambda row: (row["timestamp"], row["topic"] not in (ORDERS_EVENTS, SAGAS_EVENTS), row["offset"]))
    return list(_counted(rows))


def _of_stock(reader: Reader, since: Span, skus: set[str], correlation_id: str) -> Iterator[Record]:
    for sku in sorted(skus):
        for record in records(reader, Wanted(_BY_SKU, since, sku), True):
            if (dict(record.headers).get("correlationid") or b"").decode(errors="replace") == correlation_id:
                yield record


def _counted(rows: list[Row]) -> Iterator[Row]:
    sent: Counter[tuple[str, Any]] = Counter()
    for row in rows:
        attempt = None
        if row["topic"].endswith(".commands"):
            place = (row["type"], (row["data"] or {}).get("line"))
            sent[place] += 1
            attempt = sent[place]
        yield {**row, "attempt": attempt}
