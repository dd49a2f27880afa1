"""The rows that tables, heads and copies must hold, as the audit's own fold of the event topics gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from schemas.envelope import to_rfc3339
from schemas.keys import SEPARATOR
from tally.audit.folding import Histories
from tally.audit.histories import OrderHistory
from tally.audit.views import Row


def orders(histories: Histories) -> Iterator[tuple[str, Row]]:
    """The read model `orders`."""
    for order_id, order in histories.orders.items():
        lines = [
            {"line": line, "sku": sku, "quantity": quantity, "unit_price_minor": price}
            for line, sku, quantity, price in order.lines
        ]
        row: Row = {**_listed(order_id, order), "customer_id": order.customer_id, "lines": lines}
        if order.returned:
            row["returned"] = [{"line": line, "quantity": units} for line, units in sorted(order.returned.items())]
        yield order_id, row


def orders_by_customer(histories: Histories) -> Iterator[tuple[str, Row]]:
    """The read model `orders_by_customer`."""
    for order_id, order in histories.orders.items():
        yield f"{order.customer_id}{SEPARATOR}{order_id}", _listed(order_id, order)


def stock(histories: Histories) -> Iterator[tuple[str, Row]]:
    """The read model `stock`."""
    for sku, level in histories.stock.items():
        yield (
            sku,
            {
                "sku": sku,
                "on_hand": level.stated_on_hand,
                "reserved": level.stated_reserved,
                "available": max(level.stated_on_hand - level.stated_reserved, 0),
                "version": level.version,
            },
        )


def stock_levels(histories: Histories) -> Iterator[tuple[str, Row]]:
    """The table that the inventory agent decides on."""
    for sku, level in histories.stock.items():
        yield sku, {"on_hand": level.stated_on_hand, "reserved": level.stated_reserved, "version": level.version}


def holds(histories: Histories) -> Iterator[tuple[str, Row]]:
    """The holds that the inventory agent decides on."""
    for (sku, order_id, line), hold in histories.holds.items():
        key = f"{sku}{SEPARATOR}{order_id}{SEPARATOR}{line}"
        yield key, {"quantity": hold.quantity, "status": hold.status, "version": hold.version}


def order_sagas(histories: Histories) -> Iterator[tuple[str, Row]]:
    """The sagas that the orchestrator decides on: their versions, and how they ended."""
    for order_id, saga in histories.sagas.items():
        yield order_id, {"outcome": saga.outcome, "version": saga.version}


EXPECTED: dict[str, Callable[[Histories], Iterator[tuple[str, Row]]]] = {
    "orders": orders,
    "orders_by_customer": orders_by_customer,
    "stock": stock,
    "stock_levels": stock_levels,
    "holds": holds,
    "order_sagas": order_sagas,
}


def _listed(order_id: str, order: OrderHistory) -> Row:
    created_at = datetime.fromtimestamp(order.created_at_ms // 1000, UTC)
    created_at = created_at.replace(microsecond=order.created_at_ms % 1000 * 1000)
    return {
        "id": order_id,
        "status": order.status,
        "reason": order.reason,
        "total_minor": order.total_minor,
        "currency": order.currency,
        "created_at": to_rfc3339(created_at),
        "version": order.version,
    }
