"""Folding of decoded messages into tables, with the same `evolve` that the agents use; nothing is sent or stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.envelope import Message
from schemas.topics import INVENTORY_EVENTS, SAGAS_EVENTS
from streams.errors import HistoryGap, StreamError
from streams.inventory.rows import Row, hold_from_row, hold_key, hold_to_row, level_from_row, level_to_row
from streams.inventory.stock import Stock
from streams.inventory.stock import evolve as evolve_stock
from streams.read_models.table_of_tables import READ_MODELS, ReadModel
from streams.sagas.order import evolve as evolve_saga
from streams.sagas.state import OrderSaga, to_row

# Faults kept word for word; beyond these only their number grows.
FAULTS_MAX = 100

Rows = dict[str, Row]


@dataclass(slots=True)
class Folded:
    """What a range of topics holds: messages counted by topic and type, and the tables that follow from them.

    `faults` has one line for each message that could not be folded (a gap, a fork, a stranger), `faults_total` counts
    them all. Rows look as the workers' rows do.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    stock_levels: Rows = field(default_factory=dict)
    holds: Rows = field(default_factory=dict)
    stock: Rows = field(default_factory=dict)
    orders: Rows = field(default_factory=dict)
    orders_by_customer: Rows = field(default_factory=dict)
    sagas: dict[str, OrderSaga] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    faults_total: int = 0

    @property
    def order_sagas(self) -> Rows:
        """The sagas as rows of the table `order_sagas`."""
        return {order_id: to_row(saga) for order_id, saga in self.sagas.items()}


def replay(messages: Iterable[tuple[str, Message]]) -> Folded:
    """Folds (topic, message) pairs, which must be in order within each key of a topic."""
    folded = Folded()
    for topic, message in messages:
        fold(folded, topic, message)
    return folded


def fold(folded: Folded, topic: str, message: Message) -> None:
    """Folds one message; one that does not fit is counted as a fault and folded no further."""
    folded.counts[topic, message.envelope.type] += 1
    try:
        for model in (model for model in READ_MODELS if model.topic == topic):
            _fold_row(folded, model, message)
        if topic == INVENTORY_EVENTS:
            _fold_stock(folded, message)
        elif topic == SAGAS_EVENTS:
            _fold_saga(folded, message)
    except StreamError as fault:
        folded.faults_total += 1
        if len(folded.faults) < FAULTS_MAX:
            folded.faults.append(f"{topic}: {fault}")


def _fold_row(folded: Folded, model: ReadModel, message: Message) -> None:
    rows: Rows = getattr(folded, model.name)
    key = model.key(message)
    row = model.evolve(rows.get(key), message)
    if row is not None:
        rows[key] = row


def _fold_stock(folded: Folded, message: Message) -> None:
    sku, body = message.envelope.subject, message.body
    level = level_from_row(folded.stock_levels.get(sku))
    if (message.envelope.version or 0) <= level.version:
        return
    order_id = getattr(body, "order_id", None)
    key = None if order_id is None else hold_key(sku, order_id, body.line)
    hold = None if key is None else hold_from_row(folded.holds.get(key))
    stock = evolve_stock(Stock(level, hold), message)
    folded.stock_levels[sku] = level_to_row(stock.level)
    if key is not None and stock.hold is not None:
        folded.holds[key] = hold_to_row(stock.hold)


def _fold_saga(folded: Folded, message: Message) -> None:
    order_id, version = message.envelope.subject, message.envelope.version or 0
    saga = folded.sagas.get(order_id, OrderSaga())
    if version > saga.version + 1:
        raise HistoryGap(f"sagas/{order_id}", version, saga.version + 1)
    if version == saga.version + 1:
        folded.sagas[order_id] = evolve_saga(saga, message)
