"""The timeline of one saga: all messages of its affair, of every topic, with places, times and attempts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from producers.api.asked_of_kafka import KafkaSilent
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
from tally.reading.places import Kind, Place, Span
from tally.reading.reader import Reader, Record, UnknownTopic, Unreachable
from tally.reading.rows import to_row
from tally.reading.wanted import Wanted, records

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


class KafkaTimelines:
    """Timelines for the API, each time anew: the topics have everything, and few people ask."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def read(self, saga: Row) -> list[Row]:
        """See `producers.api.asked_of_kafka.Timelines`."""
        try:
            with Reader(self._bootstrap) as reader:
                return timeline(reader, saga)
        except (Unreachable, UnknownTopic) as error:
            raise KafkaSilent(str(error)) from None


def timeline(reader: Reader, saga: Row) -> list[Row]:
    """The messages of a saga (as its owner shows it), in the order of their times. `attempt` counts a command's sendings."""
    since = Span(_before(saga["started_at"]))
    codec, order_id = AvroCodec(), saga["order_id"]
    rows = [to_row(record, codec) for record in records(reader, Wanted(_BY_ORDER, since, order_id), True)]
    skus = {
        line["sku"] for row in rows if row["type"] == "SAGA_STARTED" and row["data"] for line in row["data"]["lines"]
    }
    rows += [to_row(record, codec) for record in _of_stock(reader, since, skus, saga["correlation_id"])]
    # Within one moment causes stand before what they cause: topics in the order in which an affair goes through them.
    rows.sort(key=lambda row: (row["timestamp"], row["topic"] not in (ORDERS_EVENTS, SAGAS_EVENTS), row["offset"]))
    return list(_counted(rows))


def _before(started_at: str | None) -> Place:
    """A saga that is known by a message which cannot be applied has not begun."""
    if started_at is None:
        return Place(Kind.BEGINNING)
    return Place(Kind.MOMENT, round(from_rfc3339(started_at).timestamp() * 1_000) - _BEFORE_MS)


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
