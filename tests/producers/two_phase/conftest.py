"""Two databases that take part in one transaction, on one server or on two; and the table of what came of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from two_phase_pair import Apart, OwnServer, Pair, ending
from two_phase_steps import matrix, pytest_terminal_summary

from producers.store.connections import Pool, PoolSize, open_pool
from tally.local.databases import ServiceDatabase

__all__ = ["matrix", "pytest_terminal_summary"]

# No connection is held, so that a server that went away is asked anew.
ASKED_ANEW = PoolSize(0, 4)


@pytest.fixture
def pair(
    orders_database: ServiceDatabase, payments_database: ServiceDatabase, orders_pool: Pool, payments_pool: Pool
) -> Iterator[Pair]:
    """Both databases on one server."""
    with ending(Pair(orders_database.service_url, payments_database.service_url, orders_pool, payments_pool)) as pair:
        yield pair


@pytest.fixture
def apart(own_server: OwnServer, orders_database: ServiceDatabase, orders_pool: Pool) -> Iterator[Apart]:
    """Payments on a server of its own."""
    url = own_server.emptied("payments").service_url
    with (
        open_pool(url, "payments", ASKED_ANEW) as pool,
        ending(Pair(orders_database.service_url, url, orders_pool, pool)) as pair,
    ):
        yield Apart(own_server, pair)


@pytest.fixture
def orders_apart(own_server: OwnServer, payments_database: ServiceDatabase, payments_pool: Pool) -> Iterator[Apart]:
    """Orders, and with them the decisions, on a server of its own."""
    url = own_server.emptied("orders").service_url
    with (
        open_pool(url, "orders", ASKED_ANEW) as pool,
        ending(Pair(url, payments_database.service_url, pool, payments_pool)) as pair,
    ):
        yield Apart(own_server, pair)
