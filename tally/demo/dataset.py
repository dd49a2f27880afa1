"""The data set Online Retail: its lines as invoices, and the receipts that stock the shop before the first of them.

Each quirk of the data is decided here or in `tally.demo.plan`, in one place each; the README's table says the same.
"""

from __future__ import annotations

import csv
import io
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("online_retail.csv.xz")
# An order needs a customer; a quarter of the lines have none.
GUEST = "guest"
CURRENCY = "GBP"
# Nine tenths of what was ever sold are received, so that late in the year some goods run short.
RECEIVED_TENTHS = 9


class Kind(StrEnum):
    """What an invoice is: a sale, a cancellation (`C`), a write-off (negative, no `C`) or accounting (`A`)."""

    SALE = "SALE"
    CANCELLATION = "CANCELLATION"
    WRITE_OFF = "WRITE_OFF"
    ACCOUNTING = "ACCOUNTING"


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it stands in the file; `quantity` is signed, the price in pence."""

    sku: str
    description: str
    quantity: int
    unit_price_minor: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """All lines of one InvoiceNo, in the file's order, wherever they stand in it."""

    number: str
    customer_id: str
    lines: tuple[Line, ...]

    @property
    def kind(self) -> Kind:
        if self.number.startswith("C"):
            return Kind.CANCELLATION
        if self.number.startswith("A"):
            return Kind.ACCOUNTING
        # No invoice mixes signs: one negative line makes it a write-off.
        return Kind.WRITE_OFF if self.lines[0].quantity < 0 else Kind.SALE


@dataclass(frozen=True, slots=True)
class DataSet:
    """The invoices by first line, and how many units of each SKU are received at the start."""

    invoices: tuple[Invoice, ...]
    receipts: dict[str, int]


def load(file: Path = FILE, invoices: int | None = None) -> DataSet:
    """The first `invoices` invoices of the file, with the receipts that the whole file asks for."""
    lines_by_invoice: dict[str, list[list[str]]] = {}
    sold: dict[str, int] = {}
    for row in _rows(file):
        rows = lines_by_invoice.get(row[0])
        if rows is not None:
            rows.append(row)
        elif invoices is None or len(lines_by_invoice) < invoices:
            lines_by_invoice[row[0]] = [row]
        quantity = int(row[3])
        if quantity > 0:
            sold[row[1]] = sold.get(row[1], 0) + quantity
    receipts = {sku: units * RECEIVED_TENTHS // 10 for sku, units in sold.items()}
    return DataSet(
        tuple(_invoice(number, rows) for number, rows in lines_by_invoice.items()),
        # The little that rounds down to nothing is never received: those SKUs stay unknown.
        {sku: units for sku, units in receipts.items() if units},
    )


def _rows(file: Path) -> Iterator[list[str]]:
    with lzma.open(file) as packed, io.TextIOWrapper(packed, encoding="utf-8", newline="") as text:
        reader = csv.reader(text)
        next(reader)
        yield from reader


def _invoice(number: str, rows: list[list[str]]) -> Invoice:
    lines = tuple(Line(row[1], row[2], int(row[3]), price_minor(row[5])) for row in rows)
    return Invoice(number, customer(rows[0][6]), lines)


def customer(text: str) -> str:
    """`17850.0` is customer `17850`; nobody is `guest`."""
    return text.removesuffix(".0") or GUEST


@cache
def price_minor(text: str) -> int:
    """Pounds to pence, exactly; the four prices below half a penny become 0."""
    return int((Decimal(text) * 100).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
