"""The outbox row: the table's columns, and how they become a record (Debezium's EventRouter's words)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from schemas.codec import Codec
from schemas.envelope import Message

TABLE = "public.outbox"
# The column that names the topic; a row inserted without it goes to `<aggregatetype>.events`.
ROUTE_BY_FIELD = "topic"
ROUTE_REPLACEMENT = "${routedByValue}"
TIMESTAMP_FIELD = "created_at"
# Rows of one aggregate in the order of these are in its order.
ORDER = (TIMESTAMP_FIELD, "version")
# `table.fields.additional.placement`: every wire header is a scalar column, so that Debezium can replace our connector.
PLACEMENT = (
    "specversion:header:ce_specversion,id:header:ce_id,type:header:ce_type,source:header:ce_source,"
    "created_at:header:ce_time,aggregateid:header:ce_subject,aggregatetype:header,version:header:aggregateversion,"
    "correlationid:header,causationid:header,traceparent:header"
)


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One row; field names are column names. `created_at` is recorded_at, aware UTC."""

    id: str
    topic: str
    aggregatetype: str
    aggregateid: str
    type: str
    payload: bytes
    version: int | None
    created_at: datetime
    source: str
    correlationid: str
    causationid: str
    traceparent: str | None


COLUMNS = tuple(field.name for field in fields(OutboxRow))


def from_message(topic: str, message: Message, codec: Codec) -> OutboxRow:
    """The row that the connector turns into the same record as `encode_record` would. Raises Unencodable."""
    envelope = message.envelope
    return OutboxRow(
        id=envelope.id,
        topic=topic,
        aggregatetype=envelope.aggregatetype,
        aggregateid=envelope.subject,
        type=envelope.type,
        payload=codec.encode(message.body),
        version=envelope.version,
        created_at=envelope.recorded_at,
        source=envelope.source,
        correlationid=envelope.correlation_id,
        causationid=envelope.causation_id,
        traceparent=envelope.traceparent,
    )
