"""The comparisons: pure functions over collected books, one finding for each thing that is not as promised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tally.audit.expected import EXPECTED
from tally.audit.histories import OrderHistory, hold_place
from tally.audit.report import Finding
from tally.audit.returns import returns_are_in_stock, returns_are_paid_back
from tally.audit.views import Books, Row
from tally.audit.wallets import wallets_add_up, wallets_pay_for_orders

# An order is to end within 60 s (design G3); what is younger is in flight, not lost. With it goes the time
# in which the last step's answer travels.
ORDER_ENDS_WITHIN_MS = 75_000

# What a hold may be while its order has a status; an order in flight may have any.
_HOLD_STATUSES = {
    "CONFIRMED": {"HELD"},
    "SHIPPED": {"SHIPPED"},
    "REJECTED": {"RELEASED", "REFUSED", "FENCED"},
    "CANCELLED": {"RELEASED", "REFUSED", "FENCED"},
}
# What a payment may be at the end; None is an order that never came as far as asking for money.
_PAYMENT_STATUSES: dict[str, set[str | None]] = {
    "CONFIRMED": {"CAPTURED"},
    # All of it came back: `returns_are_paid_back` looks at the sums.
    "SHIPPED": {"CAPTURED", "REFUNDED"},
    "REJECTED": {None, "DECLINED", "VOIDED", "REFUNDED"},
    "CANCELLED": {None, "DECLINED", "VOIDED", "REFUNDED"},
}
_SAGA_OUTCOMES = {
    "CONFIRMED": {"CONFIRMED"},
    "SHIPPED": {"SHIPPED"},
    "REJECTED": {"REJECTED"},
    "CANCELLED": {"CANCELLED"},
}


def check(books: Books) -> list[Finding]:
    """Everything that is not as promised, in a fixed order."""
    findings = list(books.histories.findings)
    for comparison in COMPARISONS:
        findings.extend(comparison(books))
    return findings


def in_flight(books: Books, order_id: str) -> bool:
    """Whether the saga still works on the order, and within its time."""
    saga = books.histories.sagas.get(order_id)
    order = books.histories.orders[order_id]
    moved_at_ms = max(order.moved_at_ms, 0 if saga is None else saga.moved_at_ms)
    return (saga is None or saga.outcome is None) and books.now_ms - moved_at_ms < ORDER_ENDS_WITHIN_MS


def stock_is_sound(books: Books) -> Iterator[Finding]:
    """G1, G2: nothing below zero, nothing promised that is not there, unless a shortage says so."""
    for sku, level in books.histories.stock.items():
        if level.on_hand < 0 or level.reserved < 0:
            yield Finding("never-below-zero", f"inventory/{sku}", f"{level.on_hand} on hand, {level.reserved} reserved")
        if level.reserved > level.on_hand and not level.short:
            message = f"{level.reserved} reserved of {level.on_hand} on hand, and no shortage is recorded"
            yield Finding("no-oversell", f"inventory/{sku}", message)


def holds_add_up(books: Books) -> Iterator[Finding]:
    """G2: what a SKU has reserved is the sum of its holds."""
    held_by_sku: dict[str, int] = {}
    for (sku, _, _), hold in books.histories.holds.items():
        if hold.status == "HELD":
            held_by_sku[sku] = held_by_sku.get(sku, 0) + hold.quantity
    for sku, level in books.histories.stock.items():
        held = held_by_sku.get(sku, 0)
        if held != level.reserved:
            message = f"{level.reserved} reserved, the holds add up to {held}"
            yield Finding("reserved-is-held", f"inventory/{sku}", message)


def holds_belong_to_orders(books: Books) -> Iterator[Finding]:
    """G2: every hold is of a line of an order that has that quantity, and fits the order's status."""
    orders, lines_by_order = books.histories.orders, _lines_by_order(books)
    for key, hold in books.histories.holds.items():
        sku, order_id, line = key
        ordered = lines_by_order.get(order_id, {}).get(line)
        if ordered is None or ordered[0] != sku:
            yield Finding("held-for-an-order", hold_place(key), f"{hold.status}, and no order has this line")
            continue
        if hold.quantity != ordered[1] and hold.status != "FENCED":
            yield Finding("held-for-an-order", hold_place(key), f"{hold.quantity} held, {ordered[1]} ordered")
        status = orders[order_id].status
        if hold.status not in _HOLD_STATUSES.get(status, {hold.status}) and not in_flight(books, order_id):
            message = f"{hold.status}, but order {order_id} is {status}"
            yield Finding("held-for-live-orders", hold_place(key), message)


def live_orders_are_held(books: Books) -> Iterator[Finding]:
    """G2, the other way round: every line of a confirmed or shipped order has its hold."""
    held = books.histories.holds
    for order_id, order in books.histories.orders.items():
        if order.status not in ("CONFIRMED", "SHIPPED"):
            continue
        missing = [line for line, sku, _, _ in order.lines if (sku, order_id, line) not in held]
        if missing:
            message = f"{order.status}, but nothing was ever held for lines {missing[:5]}"
            yield Finding("held-for-live-orders", f"orders/{order_id}", message)


def orders_end(books: Books) -> Iterator[Finding]:
    """G3: every order ended within its time; one that did not is named with what its saga waits for."""
    for order_id, order in books.histories.orders.items():
        age_ms = books.now_ms - order.created_at_ms
        if order.status == "CREATED" and age_ms > ORDER_ENDS_WITHIN_MS:
            saga = books.histories.sagas.get(order_id)
            waits = "no saga ever started" if saga is None else f"its saga stands at step {saga.step!r}"
            yield Finding("every-order-ends", f"orders/{order_id}", f"still CREATED after its time; {waits}")


def sagas_agree(books: Books) -> Iterator[Finding]:
    """G3: a saga ends as its order did; in flight while the order just moved."""
    for order_id, order in books.histories.orders.items():
        expected = _SAGA_OUTCOMES.get(order.status)
        if expected is None or in_flight(books, order_id):
            continue
        saga = books.histories.sagas.get(order_id)
        outcome = None if saga is None else saga.outcome
        if outcome not in expected:
            message = f"order {order.status}, saga {outcome or 'has not ended'}"
            yield Finding("saga-agrees", f"orders/{order_id}", message)


def payments_agree(books: Books) -> Iterator[Finding]:
    """Money follows goods: captured when confirmed, given back or never taken otherwise."""
    orders = books.histories.orders
    for order_id, order in orders.items():
        allowed = _PAYMENT_STATUSES.get(order.status)
        if allowed is None or in_flight(books, order_id):
            continue
        payment = books.histories.payments.get(order_id)
        status = None if payment is None else payment.status
        if status not in allowed:
            message = f"order {order.status}, payment {status or 'never asked for'}"
            yield Finding("payment-agrees", f"payments/{order_id}", message)
    for order_id in books.histories.payments.keys() - orders.keys():
        yield Finding("payment-agrees", f"payments/{order_id}", "a payment of no order")


def tables_are_folds(books: Books) -> Iterator[Finding]:
    """G5: every table is the fold of its events; `version` tells a late row from a wrong one."""
    for name, rows in books.tables.items():
        if name in EXPECTED:
            yield from _compare("table-is-fold", name, EXPECTED[name](books.histories), rows)


def copies_are_tables(books: Books) -> Iterator[Finding]:
    """G5: every copy in Valkey is the fold too; a missing copy means "ask the owner" and is none of these."""
    for name, rows in books.copies.items():
        if name not in EXPECTED:
            continue
        expected = {key: row for key, row in EXPECTED[name](books.histories) if key in rows}
        yield from _compare("copy-is-fold", f"copies/{name}", expected.items(), rows)


def heads_are_folds(books: Books) -> Iterator[Finding]:
    """G5: every head snapshot is the fold of the published history."""
    for service, histories in (("orders", books.histories.orders), ("payments", books.histories.payments)):
        if service not in books.services:
            continue
        heads = books.services[service].heads
        for aggregate_id in heads.keys() | histories.keys():
            head, history = heads.get(aggregate_id), histories.get(aggregate_id)
            place = f"{service}/{aggregate_id}"
            if head is None or history is None:
                message = "has events but no head row" if head is None else "has a head row but no events"
                yield Finding("head-is-fold", place, message)
            elif head.version != history.version:
                # One of the two numbers alone: the other moves on while the connector catches up.
                behind = f"events end at version {history.version}"
                ahead = f"head stands at version {head.version}"
                yield Finding("head-is-fold", place, behind if history.version < head.version else ahead)
            else:
                yield from _same_snapshot(place, head.snapshot, history)


def outbox_is_published(books: Books) -> Iterator[Finding]:
    """G4: each committed row is in its topic exactly once, and nothing is there that was rolled back."""
    for service, collected in books.services.items():
        ids_by_topic: dict[str, set[str]] = {}
        for row in collected.outbox:
            ids_by_topic.setdefault(row.topic, set()).add(row.id)
            seen = books.histories.count_by_id.get(row.topic)
            if seen is not None and seen.get(row.id, 0) != 1:
                place = f"{row.aggregatetype}/{row.aggregate_id}"
                message = f"outbox row {row.id} (version {row.version}) is {seen.get(row.id, 0)} times in {row.topic}"
                yield Finding("published-once", place, message)
        for topic, sources in books.histories.sources.items():
            recorded_ms = books.histories.recorded_ms[topic]
            ours = {
                id_
                for id_, source in sources.items()
                if source == f"/tally/{service}" and recorded_ms[id_] >= collected.outbox_from_ms
            }
            for id_ in ours - ids_by_topic.get(topic, set()):
                yield Finding("only-committed", f"{topic}/{id_}", f"is no committed row of the outbox of {service}")


COMPARISONS: tuple[Callable[[Books], Iterable[Finding]], ...] = (
    stock_is_sound,
    holds_add_up,
    holds_belong_to_orders,
    live_orders_are_held,
    orders_end,
    sagas_agree,
    payments_agree,
    lambda books: returns_are_paid_back(books, in_flight),
    lambda books: returns_are_in_stock(books, in_flight),
    wallets_add_up,
    lambda books: wallets_pay_for_orders(books, in_flight),
    tables_are_folds,
    copies_are_tables,
    heads_are_folds,
    outbox_is_published,
)


def _compare(name: str, table: str, expected: Iterable[tuple[str, Row]], rows: dict[str, Row]) -> Iterator[Finding]:
    unseen = set(rows)
    for key, wanted in expected:
        unseen.discard(key)
        row = rows.get(key)
        place = f"{table}/{key.replace(chr(0x1F), '/')}"
        if row is None:
            yield Finding(name, place, "the events tell of it, the row is missing")
        elif row.get("version") != wanted["version"]:
            late = row.get("version", 0) < wanted["version"]
            behind, end = (row.get("version"), "row") if late else (wanted["version"], "history")
            yield Finding(name, place, f"the {end} stands still at version {behind}")
        else:
            for field, value in wanted.items():
                if row.get(field) != value:
                    message = f"version {wanted['version']}: {field} is {_short(row.get(field))}, not {_short(value)}"
                    yield Finding(name, place, message)
    for key in unseen:
        yield Finding(name, f"{table}/{key.replace(chr(0x1F), '/')}", "a row that no event tells of")


def _same_snapshot(place: str, snapshot: Row, history: Any) -> Iterator[Finding]:
    wanted: Row = {"status": history.status}
    if isinstance(history, OrderHistory):
        wanted |= {
            "reason": history.reason,
            "customer_id": history.customer_id,
            "total_minor": history.total_minor,
            "lines": [list(line) for line in history.lines],
        }
        if history.returned:
            wanted["returned"] = [list(entry) for entry in sorted(history.returned.items())]
    for field, value in wanted.items():
        if snapshot.get(field) != value:
            message = (
                f"version {history.version}: snapshot has {field} {_short(snapshot.get(field))}, not {_short(value)}"
            )
            yield Finding("head-is-fold", place, message)


def _lines_by_order(books: Books) -> dict[str, dict[int, tuple[str, int]]]:
    return {
        order_id: {line: (sku, quantity) for line, sku, quantity, _ in order.lines}
        for order_id, order in books.histories.orders.items()
    }


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
