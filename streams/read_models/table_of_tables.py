"""The table of tables: each read model with its topic, its key and its fold. A new view is one line here.

So is a new fold of an old view: a further line of the same name, with the table version from which on it holds. What is
served goes on with the old one until the new version was built beside it and promoted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schemas.envelope import Message
from schemas.topics import INVENTORY_EVENTS, ORDERS_BY_CUSTOMER_REKEY, ORDERS_EVENTS
from streams.read_models import orders, orders_by_customer, stock
from streams.read_models.history import Row


@dataclass(frozen=True, slots=True)
class ReadModel:
    """`evolve` gives the next row, or None for an event that the row has already; for table versions from `since` on."""

    name: str
    topic: str
    key: Callable[[Message], str]
    evolve: Callable[[Row | None, Message], Row | None]
    since: int = 1


READ_MODELS = (
    ReadModel("orders", ORDERS_EVENTS, orders.key, orders.evolve),
    ReadModel("orders_by_customer", ORDERS_BY_CUSTOMER_REKEY, orders_by_customer.key, orders_by_customer.evolve),
    ReadModel("stock", INVENTORY_EVENTS, stock.key, stock.evolve),
)


def read_model(name: str, version: int = 1, models: tuple[ReadModel, ...] = READ_MODELS) -> ReadModel:
    """The read model of that name as a version of its table is folded; KeyError when there is none."""
    lines = [model for model in models if model.name == name and model.since <= version]
    if not lines:
        raise KeyError(name)
    return max(lines, key=lambda model: model.since)
