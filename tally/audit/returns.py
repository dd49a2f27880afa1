"""The comparisons of returns: what came back of an order is refunded, and in stock again, unit by unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tally.audit.histories import hold_place
from tally.audit.report import Finding
from tally.audit.views import Books

InFlight = Callable[[Books, str], bool]


def returns_are_paid_back(books: Books, in_flight: InFlight) -> Iterator[Finding]:
    """A shipped order's payment gave back what its returned units had cost, and nothing else."""
    for order_id, order in books.histories.orders.items():
        payment = books.histories.payments.get(order_id)
        if order.status != "SHIPPED" or payment is None or in_flight(books, order_id):
            continue
        if payment.refunded_minor != order.returned_minor:
            message = f"{payment.refunded_minor} refunded, what came back had cost {order.returned_minor}"
            yield Finding("refund-agrees", f"payments/{order_id}", message)


def returns_are_in_stock(books: Books, in_flight: InFlight) -> Iterator[Finding]:
    """Every unit that the order says came back was put back under its hold, and no other."""
    returned = {
        (sku, order_id, line): order.returned.get(line, 0)
        for order_id, order in books.histories.orders.items()
        for line, sku, _, _ in order.lines
    }
    for key, hold in books.histories.holds.items():
        wanted = returned.get(key, 0)
        known = key[1] in books.histories.orders
        if hold.returned != wanted and not (known and in_flight(books, key[1])):
            message = f"{hold.returned} units put back, the order says {wanted}"
            yield Finding("restock-agrees", hold_place(key), message)
