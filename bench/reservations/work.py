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
from itertools import cycle, islice
from typing import Any

from bench.reservations import avro
from faust_rdkafka import JSON
from tally.demo import dataset

PARTITIONS = 4

Stock = tuple[int, int, int]  # on_hand, reserved, version
NOTHING: Stock = (0, 0, 0)

COMMAND: dict[str, Any] = {
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
STOCK: dict[str, Any] = {
    "type": "record",
    "name": "Stock",
    "fields": [{"name": name, "type": "long"} for name in ("on_hand", "reserved", "version")],
}
OUTCOME: dict[str, Any] = {
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


@dataclass(frozen=True, slots=True)
class Form:
    """How commands, outcomes and state look on the wire."""

    write_command: Callable[[dict[str, Any]], bytes]
    read_command: Callable[[bytes], dict[str, Any]]
    write_outcome: Callable[[dict[str, Any]], bytes]
    read_outcome: Callable[[bytes], dict[str, Any]]
    write_stock: Callable[[Stock], bytes]
    read_stock: Callable[[bytes], Stock]


def _form(write: Callable[[Any], Callable[[Any], bytes]], read: Callable[[Any], Callable[[bytes], Any]]) -> Form:
    write_row, read_row = write(STOCK), read(STOCK)
    return Form(
        write(COMMAND),
        read(COMMAND),
        write(OUTCOME),
        read(OUTCOME),
        lambda stock: write_row({"on_hand": stock[0], "reserved": stock[1], "version": stock[2]}),
        lambda data: _stock(read_row(data)),
    )


def _stock(row: dict[str, int]) -> Stock:
    return row["on_hand"], row["reserved"], row["version"]


FORMS = {
    "json": _form(lambda _: JSON.dumps, lambda _: JSON.loads),
    "avro": _form(avro.writer, avro.reader),
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
