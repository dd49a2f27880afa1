"""Rows of the workers' tables against the fold of their histories, each at the version that it states.

A row was read before the topics' ends were taken, so the topic is at its version or beyond: what a row says is compared
when the fold passes that version, whatever has come since.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, NamedTuple

import orjson

from schemas.envelope import Message
from schemas.keys import SEPARATOR
from streams.errors import StreamError
from streams.inventory.rows import hold_key, hold_to_row, level_to_row
from streams.inventory.stock import Hold, Level, Stock
from streams.inventory.stock import evolve as evolve_stock
from streams.read_models import orders, orders_by_customer, stock
from streams.sagas.order import evolve as evolve_saga
from streams.sagas.state import OrderSaga, to_row

Row = dict[str, Any]
RowsByTable = dict[str, dict[str, "KeptRow"]]
Say = Callable[[str, str], None]


class KeptRow(NamedTuple):
    """A row's version, and the row in JSON: as objects, the rows of a million events would fill gigabytes."""

    version: int
    json: bytes


# Which tables follow the histories of a type.
TABLES_BY_TYPE = {
    "orders": ("orders", "orders_by_customer"),
    "inventory": ("stock", "stock_levels", "holds"),
    "sagas": ("order_sagas",),
}
_TYPE_BY_TABLE = {table: kind for kind, tables in TABLES_BY_TYPE.items() for table in tables}
TABLES = tuple(_TYPE_BY_TABLE)


def aggregate_of(table: str, key: str) -> str:
    """The id of the aggregate whose history a row follows; its hash tells the partition to look in."""
    if table == "orders_by_customer":
        return key.rpartition(SEPARATOR)[2]
    return key.partition(SEPARATOR)[0] if table == "holds" else key


class Rows:
    """The rows of one partition number; `say` takes (place, what is wrong)."""

    def __init__(self, there: RowsByTable, say: Say) -> None:
        self._there, self._say = {table: there.get(table, {}) for table in TABLES}, say
        self._orders: dict[str, Row] = {}
        self._skus: dict[str, Row] = {}
        self._levels: dict[str, Level] = {}
        self._holds: dict[str, Hold] = {}
        self._sagas: dict[str, OrderSaga] = {}
        # The version of every row that histories make, by table and key.
        self._made: dict[str, dict[str, int]] = {table: {} for table in TABLES}
        self.compared = 0

    def fold(self, event: Message) -> None:
        """Takes the next event of a history that is whole so far."""
        kind = event.envelope.aggregatetype
        try:
            match kind:
                case "orders":
                    self._order(event)
                case "inventory":
                    self._stock(event)
                case "sagas":
                    self._saga(event)
        except StreamError as error:
            self._say(f"{kind}/{event.envelope.subject}", f"the history does not fold: {error}")

    def finish(self, broken: Container[tuple[str, str]]) -> None:
        """Says what rows lack, and which go beyond their histories; of `broken` ones (type, id) the fold says nothing."""
        for table, rows in self._there.items():
            made = self._made[table]
            for key, row in rows.items():
                if made.get(key, 0) < row.version and (_TYPE_BY_TABLE[table], aggregate_of(table, key)) not in broken:
                    self._say(_place(table, key), f"the row is at {row.version}, the topic at {made.get(key, 0)}")
            for key in made:
                if key not in rows:
                    self._say(_place(table, key), "has events and no row")

    def _order(self, event: Message) -> None:
        id_ = event.envelope.subject
        row = orders.evolve(self._orders.get(id_), event)
        if row is None:
            return
        self._orders[id_] = row
        listed_key = f"{row['customer_id']}{SEPARATOR}{id_}"
        self._compare("orders", id_, row["version"], lambda: row)
        self._compare("orders_by_customer", listed_key, row["version"], lambda: _listed(row, event))

    def _stock(self, event: Message) -> None:
        sku, body = event.envelope.subject, event.body
        row = stock.evolve(self._skus.get(sku), event)
        if row is None:
            return
        self._skus[sku] = row
        order_id = getattr(body, "order_id", None)
        key = None if order_id is None else hold_key(sku, order_id, body.line)
        before = Stock(self._levels.get(sku, Level()), None if key is None else self._holds.get(key))
        after = evolve_stock(before, event)
        self._levels[sku] = after.level
        self._compare("stock", sku, row["version"], lambda: row)
        self._compare("stock_levels", sku, after.level.version, lambda: level_to_row(after.level))
        if key is not None and after.hold is not None:
            self._holds[key] = hold = after.hold
            self._compare("holds", key, hold.version, lambda: hold_to_row(hold))

    def _saga(self, event: Message) -> None:
        id_ = event.envelope.subject
        self._sagas[id_] = saga = evolve_saga(self._sagas.get(id_, OrderSaga()), event)
        self._compare("order_sagas", id_, saga.version, lambda: to_row(saga))

    def _compare(self, table: str, key: str, version: int, make: Callable[[], Row]) -> None:
        self._made[table][key] = version
        kept = self._there[table].get(key)
        if kept is None or kept.version != version:
            return
        row, there = make(), orjson.loads(kept.json)
        self.compared += 1
        if row != there:
            differing = sorted(name for name in {*row, *there} if row.get(name) != there.get(name))
            self._say(_place(table, key), f"differs from the fold in {', '.join(differing)}")


def _listed(order: Row, event: Message) -> Row:
    message = orders_by_customer.rekey(order, event, event.envelope.recorded_at).message
    row = orders_by_customer.evolve(None, message)
    assert row is not None, "a first message makes a row"
    return row


def _place(table: str, key: str) -> str:
    return f"{table}/{key.replace(SEPARATOR, '/')}"
