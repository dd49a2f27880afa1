"""Which order a cancellation of the data set takes lines back from, and how many units of which of its lines.

Pure: `Earlier` remembers the orders that came before, customer by customer, and what was taken back of each so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tally.demo.dataset import GUEST, Invoice

Content = tuple[tuple[str, int, int], ...]


@dataclass(slots=True)
class Placed:
    """One order that came before; `left` are the units of each line (from 1) that did not come back yet."""

    number: str
    content: Content
    lines_by_sku: dict[str, list[int]]
    left: dict[int, int]
    is_untouched: bool = True

    def left_of(self, sku: str) -> int:
        """Units of a SKU that did not come back yet."""
        return sum(self.left[line] for line in self.lines_by_sku.get(sku, ()))

    def covers(self, units_by_sku: dict[str, int]) -> int:
        """How many of these units could still come back from here."""
        return sum(min(units, self.left_of(sku)) for sku, units in units_by_sku.items())

    def take(self, sku: str, units: int) -> list[tuple[int, int]]:
        """Takes back up to so many units: (line, units), first lines first."""
        taken = []
        for line in self.lines_by_sku[sku]:
            of_line = min(units, self.left[line])
            if of_line:
                self.left[line] -= of_line
                self.is_untouched = False
                taken.append((line, of_line))
                units -= of_line
        return taken


@dataclass(slots=True)
class Earlier:
    """The orders so far, by customer and SKU; a guest is not one customer, so nothing of guests is kept."""

    _by_sku: dict[tuple[str, str], list[Placed]] = field(default_factory=dict)

    def add(self, invoice: Invoice) -> None:
        """A sale was placed as an order; its lines count from 1."""
        if invoice.customer_id == GUEST:
            return
        lines_by_sku: dict[str, list[int]] = {}
        for number, line in enumerate(invoice.lines, 1):
            lines_by_sku.setdefault(line.sku, []).append(number)
        left = {number: line.quantity for number, line in enumerate(invoice.lines, 1)}
        placed = Placed(invoice.number, content(invoice, 1), lines_by_sku, left)
        for sku in lines_by_sku:
            self._by_sku.setdefault((invoice.customer_id, sku), []).append(placed)

    def find(self, cancellation: Invoice) -> Placed | None:
        """The order in which the lines of a cancellation lie: one of the same customer that has all of its SKUs.

        Of several: one with exactly its lines of which nothing came back yet, else the one that can give back most of
        the units; of equal ones the newest.
        """
        skus = {line.sku for line in cancellation.lines}
        # The SKU that was ordered least often leaves the fewest orders to look at.
        fewest = min((self._by_sku.get((cancellation.customer_id, sku), []) for sku in skus), key=len)
        candidates = [placed for placed in reversed(fewest) if skus <= placed.lines_by_sku.keys()]
        wanted, units = content(cancellation, -1), units_by_sku(cancellation)
        for placed in candidates:
            if placed.is_untouched and placed.content == wanted:
                return placed
        return max(candidates, key=lambda placed: placed.covers(units), default=None)


def units_by_sku(cancellation: Invoice) -> dict[str, int]:
    """How many units of each SKU a cancellation takes back, in the order of its lines."""
    units: dict[str, int] = {}
    for line in cancellation.lines:
        units[line.sku] = units.get(line.sku, 0) - line.quantity
    return units


def content(invoice: Invoice, sign: int) -> Content:
    """The lines of an invoice, whatever their order; a cancellation compares with sign -1."""
    return tuple(sorted((line.sku, sign * line.quantity, line.unit_price_minor) for line in invoice.lines))
