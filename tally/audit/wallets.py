"""The comparisons of wallets: credits = balances + what confirmed orders took, wallet by wallet and order by order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tally.audit.report import Finding
from tally.audit.views import Books

TAKEN = ("CONFIRMED", "SHIPPED")


def wallets_add_up(books: Books) -> Iterator[Finding]:
    """Each wallet's balance is what its movements add up to, never below zero, and its head row says the same."""
    for customer_id, wallet in books.histories.wallets.items():
        place = f"wallets/{customer_id}"
        if wallet.stated_minor != wallet.balance_minor:
            message = f"the last event states {wallet.stated_minor}, its movements add up to {wallet.balance_minor}"
            yield Finding("wallet-adds-up", place, message)
        if wallet.balance_minor < 0:
            yield Finding("wallet-adds-up", place, f"stands at {wallet.balance_minor}")
    payments = books.services.get("payments")
    for customer_id, head in {} if payments is None else payments.wallets.items():
        known = books.histories.wallets.get(customer_id)
        if known is None or known.version != head.version:
            message = f"events end at version {0 if known is None else known.version}"
            yield Finding("wallet-is-fold", f"wallets/{customer_id}", message)
        elif head.snapshot.get("balance_minor") != known.stated_minor:
            message = f"snapshot has {head.snapshot.get('balance_minor')}, not {known.stated_minor}"
            yield Finding("wallet-is-fold", f"wallets/{customer_id}", message)


def wallets_pay_for_orders(books: Books, in_flight: Callable[[Books, str], bool]) -> Iterator[Finding]:
    """A confirmed order that is paid from a wallet took its total once, less what came back; any other has all back."""
    taken: dict[str, int] = {}
    for customer_id, wallet in books.histories.wallets.items():
        for order_id, debited in wallet.debited_by_order.items():
            taken[order_id] = taken.get(order_id, 0) + debited - wallet.refunded_by_order.get(order_id, 0)
            order = books.histories.orders.get(order_id)
            if order is None or order.customer_id != customer_id:
                yield Finding(
                    "wallet-pays-for-orders", f"wallets/{customer_id}", f"pays for {order_id}, no order of its"
                )
    for order_id, order in books.histories.orders.items():
        if order.payment_method != "wallet" or in_flight(books, order_id):
            continue
        due = order.total_minor - order.returned_minor if order.status in TAKEN else 0
        if taken.get(order_id, 0) != due:
            message = f"{order.status}, its wallet paid {taken.get(order_id, 0)} of {due}"
            yield Finding("wallet-pays-for-orders", f"orders/{order_id}", message)
