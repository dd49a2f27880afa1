"""The work: reservations out of the data set, their two forms on the wire, and the rule that answers them.

A command is a `receive` (one per SKU, nine tenths of its demand) or a `reserve` (the data set's lines of positive
quantity in file order, from its beginning again as often as needed). The state of a SKU is (on_hand, reserved,
version); a reservation has one outcome, RESERVED or REJECTED, under its order's key. A reservation's `id` is its
number, dense from 0; a receipt has the id -1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import cycle, islice
from typing import Any

import fastavro
import orjson

from tally.demo import dataset

PARTITIONS = 4
_PREFIX = b"\0\0\0\0\1"  # the Confluent prefix: what Tally's messages carry

Stock = tuple[int, int, int]  # on_hand, reserved, version
NOTHING: Stock = (0, 0, 0)

_COMMAND = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Command",
        "fields": [
            {"name": "type", "type": "string"},
            {"name": "order", "type": "string"},
            {"name": "sku", "type": "string"},
            {"name": "quantity", "type": "int"},
            {"name": "id", "type": "int"},
        ],
    }
)
_STOCK = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Stock",
        "fields": [{"name": name, "type": "long"} for name in ("on_hand", "reserved", "version")],
    }
)
_OUTCOME = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Outcome",
        "fields": [
            {"name": "id", "type": "int"},
            {"name": "order", "type": "string"},
            {"name": "sku", "type": "string"},
            {"name": "quantity", "type": "int"},
            {"name": "outcome", "type": "string"},
            {"name": "version", "type": "long"},
        ],
    }
)


@dataclass(frozen=True, slots=True)
class Form:
    """How commands, outcomes and state look on the wire."""

    write_command: Callable[[dict[str, Any]], bytes]
    read_command: Callable[[bytes], dict[str, Any]]
    write_outcome: Callable[[dict[str, Any]], bytes]
    read_outcome: Callable[[bytes], dict[str, Any]]
    write_stock: Callable[[Stock], bytes]
    read_stock: Callable[[bytes], Stock]


def _avro_writer(schema: Any) -> Callable[[Any], bytes]:
    write = fastavro.schemaless_writer

    def dumps(value: Any) -> bytes:
        out = BytesIO()
        out.write(_PREFIX)
        write(out, schema, value)
        return out.getvalue()

    return dumps


def _avro_reader(schema: Any) -> Callable[[bytes], Any]:
    read, source = fastavro.schemaless_reader, BytesIO

    def loads(data: bytes) -> Any:
        return read(source(data[5:]), schema, None)

    return loads


def _form(write: Callable[[Any], Callable[[Any], bytes]], read: Callable[[Any], Callable[[bytes], Any]]) -> Form:
    write_row, read_row = write(_STOCK), read(_STOCK)
    return Form(
        write(_COMMAND),
        read(_COMMAND),
        write(_OUTCOME),
        read(_OUTCOME),
        lambda stock: write_row({"on_hand": stock[0], "reserved": stock[1], "version": stock[2]}),
        lambda data: _stock(read_row(data)),
    )


def _stock(row: dict[str, int]) -> Stock:
    return row["on_hand"], row["reserved"], row["version"]


FORMS = {
    "json": _form(lambda _: orjson.dumps, lambda _: orjson.loads),
    "avro": _form(_avro_writer, _avro_reader),
}


def commands(reservations: int) -> Iterator[dict[str, Any]]:
    """The receipts, then so many reservations."""
    lines = [
        (invoice.number, line.sku, line.quantity)
        for invoice in dataset.load().invoices
        for line in invoice.lines
        if line.quantity > 0
    ]
    whole, rest = divmod(reservations, len(lines))
    demand: Counter[str] = Counter()
    for at, (_, sku, quantity) in enumerate(lines):
        demand[sku] += quantity * (whole + (at < rest))
    for sku, units in demand.items():
        if units:
            yield {"type": "receive", "order": "", "sku": sku, "quantity": units * 9 // 10, "id": -1}
    for number, (order, sku, quantity) in enumerate(islice(cycle(lines), reservations)):
        yield {"type": "reserve", "order": order, "sku": sku, "quantity": quantity, "id": number}


def decide(stock: Stock, command: dict[str, Any]) -> tuple[Stock, bool]:
    """The state after a command, and whether it was granted; a refusal leaves the very same state."""
    on_hand, reserved, version = stock
    quantity = command["quantity"]
    if command["type"] == "receive":
        return (on_hand + quantity, reserved, version + 1), True
    if on_hand - reserved >= quantity:
        return (on_hand, reserved + quantity, version + 1), True
    return stock, False
