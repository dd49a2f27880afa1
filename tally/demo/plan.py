"""What each invoice of the data set becomes: an order, its cancellation, a return, adjustments of stock, or nothing."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tally.demo.dataset import Invoice, Kind, Line
from tally.demo.returns import Earlier, Placed, content, units_by_sku

# References that the sandbox provider understands, and how many of 1,000 orders get them; all others pay with tok_ok.
PAYMENT_PER_MILLE = (("tok_decline", 10), ("tok_flaky", 9), ("tok_slow", 1))
# Of 1,000 orders, how many are posted twice under one Idempotency-Key, to show that only one counts.
POSTED_TWICE_PER_MILLE = 20
# Of 1,000 orders, how many are shipped while the demo runs.
SHIPPED_PER_MILLE = 300
# Why units come back that no order of the customer accounts for.
UNMATCHED_RETURN = "unmatched-return"


# What comes back: (number of the order line, units).
Lines = tuple[tuple[int, int], ...]


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
    """Cancel the order of invoice `order_number`; when it was shipped meanwhile, take all its `lines` back instead."""

    number: str
    order_number: str
    lines: Lines


@dataclass(frozen=True, slots=True)
class ReturnAct:
    """Take `lines` of the shipped order of invoice `order_number` back; `rest` is what no line of it accounts for."""

    number: str
    order_number: str
    lines: Lines
    rest: tuple[Adjustment, ...]


@dataclass(frozen=True, slots=True)
class AdjustAct:
    """Adjust stock, one adjustment a line."""

    number: str
    adjustments: tuple[Adjustment, ...]


@dataclass(frozen=True, slots=True)
class SkipAct:
    """Nothing that concerns orders or stock."""

    number: str


Act = OrderAct | CancelAct | ReturnAct | AdjustAct | SkipAct


def classify(invoices: Iterable[Invoice]) -> Iterator[Act]:
    """One act for each invoice, in order.

    A `C` invoice whose lines lie in one order before it (`tally.demo.returns`) takes them back; where they are exactly
    all of its lines, the order is cancelled if it has not left yet. Any other is an adjustment. Goods come back only
    when they have left, so an order of which something comes back is shipped.
    """
    acts = list(_acts(invoices))
    returned = {act.order_number for act in acts if isinstance(act, ReturnAct)}
    for act in acts:
        if isinstance(act, OrderAct) and act.number in returned:
            yield replace(act, ships=True)
        else:
            yield act


def _acts(invoices: Iterable[Invoice]) -> Iterator[Act]:
    earlier = Earlier()
    for invoice in invoices:
        match invoice.kind:
            case Kind.SALE:
                earlier.add(invoice)
                yield _order(invoice)
            case Kind.CANCELLATION:
                found = earlier.find(invoice)
                yield (
                    AdjustAct(invoice.number, _unmatched(units_by_sku(invoice)))
                    if found is None
                    else _return(invoice, found)
                )
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


def _return(invoice: Invoice, placed: Placed) -> Act:
    cancels = placed.is_untouched and placed.content == content(invoice, -1)
    lines: dict[int, int] = {}
    rest: dict[str, int] = {}
    for sku, units in units_by_sku(invoice).items():
        taken = dict(placed.take(sku, units))
        lines |= taken
        rest[sku] = units - sum(taken.values())
    back = tuple(sorted(lines.items()))
    if cancels:
        return CancelAct(invoice.number, placed.number, back)
    return ReturnAct(invoice.number, placed.number, back, _unmatched(rest))


def _unmatched(units: dict[str, int]) -> tuple[Adjustment, ...]:
    return tuple(Adjustment(sku, quantity, UNMATCHED_RETURN) for sku, quantity in units.items() if quantity)


def _written_off(invoice: Invoice) -> Iterator[Adjustment]:
    for line in invoice.lines:
        yield Adjustment(line.sku, line.quantity, f"written off: {line.description or 'no reason given'}")


def _per_mille(purpose: str, number: str) -> int:
    return zlib.crc32(f"{purpose}/{number}".encode()) % 1000
