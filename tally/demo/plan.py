"""What each invoice of the data set becomes: an order, a cancellation of one, adjustments of stock, or nothing."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tally.demo.dataset import GUEST, Invoice, Kind, Line

# References that the sandbox provider understands, and how many of 1,000 orders get them; all others pay with tok_ok.
PAYMENT_PER_MILLE = (("tok_decline", 10), ("tok_flaky", 9), ("tok_slow", 1))
# Of 1,000 orders, how many are posted twice under one Idempotency-Key, to show that only one counts.
POSTED_TWICE_PER_MILLE = 20
# Of 1,000 orders, how many are shipped while the demo runs.
SHIPPED_PER_MILLE = 300


@dataclass(frozen=True, slots=True)
class OrderAct:
    """Place the order `number`; `posts` is how often its POST is sent, `ships` whether it leaves the house later."""

    number: str
    customer_id: str
    lines: tuple[Line, ...]
    payment_reference: str
    posts: int
    ships: bool


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One change of stock; `quantity` is signed."""

    sku: str
    quantity: int
    reason: str


@dataclass(frozen=True, slots=True)
class CancelAct:
    """Cancel the order of invoice `order_number`; when it was shipped meanwhile, take the goods back instead."""

    number: str
    order_number: str
    instead: tuple[Adjustment, ...]


@dataclass(frozen=True, slots=True)
class AdjustAct:
    """Adjust stock, one adjustment a line."""

    number: str
    adjustments: tuple[Adjustment, ...]


@dataclass(frozen=True, slots=True)
class SkipAct:
    """Nothing that concerns orders or stock."""

    number: str


Act = OrderAct | CancelAct | AdjustAct | SkipAct
_Content = tuple[str, tuple[tuple[str, int, int], ...]]


def classify(invoices: Iterable[Invoice]) -> Iterator[Act]:
    """One act for each invoice, in order.

    A `C` invoice cancels the newest order before it that has the same customer and exactly its lines (SKU, quantity,
    price) and was not cancelled yet. A guest is not one customer, so nothing of guests is matched.
    """
    open_orders: dict[_Content, list[str]] = {}
    for invoice in invoices:
        match invoice.kind:
            case Kind.SALE:
                if invoice.customer_id != GUEST:
                    open_orders.setdefault(_content(invoice, 1), []).append(invoice.number)
                yield _order(invoice)
            case Kind.CANCELLATION:
                matching = open_orders.get(_content(invoice, -1))
                if matching:
                    yield CancelAct(invoice.number, matching.pop(), tuple(_taken_back(invoice)))
                else:
                    yield AdjustAct(invoice.number, tuple(_taken_back(invoice)))
            case Kind.WRITE_OFF:
                yield AdjustAct(invoice.number, tuple(_written_off(invoice)))
            case Kind.ACCOUNTING:
                yield SkipAct(invoice.number)


def payment_reference(number: str) -> str:
    """How the order of an invoice pays: the same in each run."""
    share = _per_mille("pay", number)
    for reference, per_mille in PAYMENT_PER_MILLE:
        if share < per_mille:
            return reference
        share -= per_mille
    return "tok_ok"


def _order(invoice: Invoice) -> OrderAct:
    return OrderAct(
        number=invoice.number,
        customer_id=invoice.customer_id,
        lines=invoice.lines,
        payment_reference=payment_reference(invoice.number),
        posts=2 if _per_mille("twice", invoice.number) < POSTED_TWICE_PER_MILLE else 1,
        ships=_per_mille("ship", invoice.number) < SHIPPED_PER_MILLE,
    )


def _taken_back(invoice: Invoice) -> Iterator[Adjustment]:
    for line in invoice.lines:
        yield Adjustment(line.sku, -line.quantity, f"returned by cancellation {invoice.number}")


def _written_off(invoice: Invoice) -> Iterator[Adjustment]:
    for line in invoice.lines:
        yield Adjustment(line.sku, line.quantity, f"written off: {line.description or 'no reason given'}")


def _content(invoice: Invoice, sign: int) -> _Content:
    lines = sorted((line.sku, sign * line.quantity, line.unit_price_minor) for line in invoice.lines)
    return invoice.customer_id, tuple(lines)


def _per_mille(purpose: str, number: str) -> int:
    return zlib.crc32(f"{purpose}/{number}".encode()) % 1000
