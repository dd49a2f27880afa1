"""Rows of tables as they were, and what changed between two moments: folded from the histories that made the rows.

An order's history is short and is read whole, up to its head in the database: so what is on its way to Kafka counts
as well. Each event of a SKU states the counts, so one event is a row: the moment is found by halving, however hot it is.
A customer's list holds one row for each order, folded from that order: its re-key topic holds the same rows, but says
only when they were re-keyed, and reading a customer's would read a whole partition.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi_problem.error import Problem

from producers.api.histories import Histories
from producers.api.moments import Between, Past
from producers.api.problems import invalid, not_found
from producers.orders.view import listed_after, view_after
from schemas.envelope import Message, to_rfc3339
from schemas.keys import SEPARATOR, routing_key
from schemas.partitioning import partition_of
from schemas.topics import PARTITIONS, TABLES

ORDERS, ORDERS_BY_CUSTOMER, STOCK = "orders", "orders_by_customer", "stock"
# The others hold steps of work, not what anybody saw.
TABLES_WITH_A_PAST = (ORDERS, ORDERS_BY_CUSTOMER, STOCK)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Then:
    """A row as it stood and when its last event was recorded; both None before its first event."""

    value: Row | None = None
    recorded_at: datetime | None = None

    @property
    def version(self) -> int:
        """The row's version; 0 before the first event."""
        return 0 if self.value is None else int(self.value["version"])

    def to_json(self) -> Row:
        """`{version, recorded_at}`."""
        return {"version": self.version, "recorded_at": self.recorded_at and to_rfc3339(self.recorded_at)}


class PastRows:
    """Answers from histories."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories

    async def value(self, table: str, key: str, past: Past) -> Row:
        """The row's value as it stood. Raises the problems 404, 422 for a table without a past, 503."""
        value: Row = (await self.row(table, key, past))["value"]
        return value

    async def row(self, table: str, key: str, past: Past) -> Row:
        """`{key, value, partition, version, recorded_at}`. Raises as `value`."""
        (then,) = await self._find(table, key, (past,))
        if not past.is_reached_by(then.version):
            raise _no_row(table, key, past)
        partition = partition_of(routing_key(table, key).encode(), PARTITIONS)
        return {"key": key, "value": then.value, "partition": partition, **then.to_json()}

    async def diff(self, table: str, key: str, between: Between) -> Row:
        """`{key, from, to, changes}`: the two ends as `Then.to_json` with `at`, and each field that differs.

        A row that was not there yet has version 0 and null in all fields. Raises as `value`, for the later moment.
        """
        earlier, later = await self._find(table, key, (between.earlier, between.later))
        if later.value is None:
            raise _no_row(table, key, between.later)
        ends = {"from": (between.earlier, earlier), "to": (between.later, later)}
        told = {name: {"at": past.at and to_rfc3339(past.at), **then.to_json()} for name, (past, then) in ends.items()}
        return {"key": key, **told, "changes": _changes(earlier.value or {}, later.value)}

    async def _find(self, table: str, key: str, pasts: tuple[Past, ...]) -> list[Then]:
        if table == STOCK:
            return [await self._stock(key, past) for past in pasts]
        if table in (ORDERS, ORDERS_BY_CUSTOMER):
            # A customer's id may hold anything; the order's stands last.
            customer_id, order_id = key.rpartition(SEPARATOR)[::2] if table == ORDERS_BY_CUSTOMER else (None, key)
            history = await self._histories.of_order(order_id) if order_id else []
            return [_order([event for event in history if past.holds(event)], customer_id) for past in pasts]
        if table in TABLES:
            raise invalid(
                "table-without-past", f"what {table} held is not kept; {', '.join(TABLES_WITH_A_PAST)} have a past"
            )
        raise not_found("table-not-found", f"the workers keep no table {table}")

    async def _stock(self, sku: str, past: Past) -> Then:
        event = await self._histories.last_of_single_writer("inventory", sku, past)
        return Then() if event is None else Then(stock_after(event), event.envelope.recorded_at)


def stock_after(event: Message) -> Row:
    """A SKU's row after one of its events, each of which states the counts; the same shape as the table `stock`."""
    body = event.body
    return {
        "sku": event.envelope.subject,
        "on_hand": body.on_hand,
        "reserved": body.reserved,
        "available": max(body.on_hand - body.reserved, 0),
        "version": event.envelope.version,
        "event_id": event.envelope.id,
    }


def _order(past: list[Message], customer_id: str | None) -> Then:
    """The row of `orders`, or with a customer the row of theirs, if the order is theirs."""
    order = view_after(past)
    if order is None or customer_id not in (None, order["customer_id"]):
        return Then()
    return Then(order if customer_id is None else listed_after(order), past[-1].envelope.recorded_at)


def _changes(before: Row, after: Row) -> list[Row]:
    """Fields that differ, in the row's order; `version` and `event_id` say only that something did."""
    names = [name for name in {**after, **before} if name not in ("version", "event_id")]
    return [
        {"field": name, "before": before.get(name), "after": after.get(name)}
        for name in names
        if before.get(name) != after.get(name)
    ]


def _no_row(table: str, key: str, past: Past) -> Problem:
    what = {ORDERS: f"order {key}", STOCK: f"SKU {key}"}.get(table, f"row {key.replace(SEPARATOR, '/')} of {table}")
    type_ = {ORDERS: "order-not-found", STOCK: "sku-not-found"}.get(table, "row-not-found")
    return not_found(type_, f"there was no {what} {past}")
