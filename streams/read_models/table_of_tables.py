"""The table of tables: each read model with its topic, its key and its fold. A new view is one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schemas.envelope import Message
from schemas.topics import INVENTORY_EVENTS, ORDERS_BY_CUSTOMER_REKEY, ORDERS_EVENTS
from streams.read_models import orders, orders_by_customer, stock
from streams.read_models.history import Row


@dataclass(frozen=True, slots=True)
class ReadModel:
    """`evolve` gives the next row, or None for an event that the row has already."""

    name: str
    topic: str
    key: Callable[[Message], str]
    evolve: Callable[[Row | None, Message], Row | None]


READ_MODELS = (
    ReadModel("orders", ORDERS_EVENTS, orders.key, orders.evolve),
    ReadModel("orders_by_customer", ORDERS_BY_CUSTOMER_REKEY, orders_by_customer.key, orders_by_customer.evolve),
    ReadModel("stock", INVENTORY_EVENTS, stock.key, stock.evolve),
)


def read_model(name: str) -> ReadModel:
    """The read model of that name; KeyError when there is none."""
    return _BY_NAME[name]


_BY_NAME = {model.name: model for model in READ_MODELS}
