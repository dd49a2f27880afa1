"""The same work with Tally's real messages: the generated Avro codec, the headers of every message, ids by cause.

A command is a RESERVE_STOCK (or RECEIVE_STOCK) to a SKU as a saga sends it, an outcome a STOCK_RESERVED or
RESERVATION_REFUSED of that SKU under the key of its aggregate. State and rule are those of the other forms.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from bench.reservations.work import FORMS, NOTHING, PARTITIONS, Stock, commands, decide
from faust_rdkafka import STR, App, BatchSchema, Codec
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, derive_id, now
from schemas.messages import ReceiveStock, ReservationRefused, ReserveStock, StockReserved, wire_type
from schemas.records import Record, decode_record, encode_record
from streams.outgoing import SAGA_SOURCE, Address, follow

FORM = "tally"  # its name beside "json" and "avro"
SOURCE = "/tally/inventory"


def records(reservations: int) -> Iterator[Record]:
    """(key, value, headers) of all commands."""
    codec, at = AvroCodec(), now()
    for number, command in enumerate(commands(reservations)):
        order, quantity = command["order"], command["quantity"]
        body: Any = ReserveStock(order, 1, quantity) if order else ReceiveStock(quantity)
        saga = derive_id("saga", order)
        envelope = Envelope(
            id=derive_id(saga, number),
            type=wire_type(type(body)),
            source=SAGA_SOURCE,
            aggregatetype="inventory",
            subject=command["sku"],
            version=None,
            recorded_at=at,
            correlation_id=saga,
            causation_id=saga,
        )
        yield encode_record(Message(envelope, body), codec)


def make_app(app_id: str, bootstrap: str, source: str, target: str, **settings: Any) -> App:
    """The app of one worker."""
    codec, rows_form = AvroCodec(), FORMS["avro"]
    app = App(app_id, broker=f"rdkafka://{bootstrap}", web_enabled=False, topic_partitions=PARTITIONS, **settings)
    stock = app.Table("stock", key_codec=STR, value_codec=Codec(rows_form.write_stock, rows_form.read_stock))
    schema = BatchSchema(partial(_decode, codec), headers=True)

    @app.agent(app.topic(source, schema=schema))
    async def reserve_stock(batches: Any) -> None:
        async for batch in batches:
            rows, at = stock.partition(batch.partition), now()
            stamp = at.timestamp()
            for message in batch.values:
                sku, body = message.envelope.subject, message.body
                before = rows.get(sku, NOTHING)
                is_receipt = isinstance(body, ReceiveStock)
                wish = {"type": "receive" if is_receipt else "reserve", "quantity": body.quantity}
                after, granted = decide(before, wish)
                if after is not before:
                    rows[sku] = after
                if not is_receipt:
                    to = Address(SOURCE, "inventory", sku, after[2])
                    event = follow(
                        message.envelope, derive_id(message.envelope.id, "event"), to, _event(body, after, granted), at
                    )
                    key, value, headers = encode_record(event, codec)
                    app.emit(target, key, value, headers, timestamp=stamp)

    return app


def _decode(codec: AvroCodec, headers: Any, value: bytes | None) -> Message:
    return decode_record(headers, value, codec)


def _event(wish: ReserveStock, after: Stock, granted: bool) -> Any:
    on_hand, reserved, _ = after
    if granted:
        return StockReserved(wish.order_id, wish.line, wish.quantity, on_hand, reserved)
    return ReservationRefused(wish.order_id, wish.line, wish.quantity, "INSUFFICIENT_STOCK", on_hand, reserved)
