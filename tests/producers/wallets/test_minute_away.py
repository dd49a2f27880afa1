"""The payments server is away for a full minute in the middle of a payment: orders wait, nothing splits, all is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from running_system import wait_for
from two_phase_pair import OwnServer
from wallet_shop import Shop

from producers.store.connections import PoolSize, open_pool
from producers.two_phase.recovery import Bounds, Recovery
from producers.wallets.pivot import WalletPivot
from tally.local.databases import ServiceDatabase

AWAY_S = 60.0
# What we promise once everybody is back.
SETTLED_WITHIN_S = 30.0
ORDER_EVERY_S = 2.0


@pytest.fixture
def shop(own_server: OwnServer, orders_database: ServiceDatabase) -> Iterator[Shop]:
    """Payments on a server of its own."""
    orders = open_pool(orders_database.service_url, "orders", PoolSize(1, 16))
    payments = open_pool(own_server.emptied("payments").service_url, "payments", PoolSize(1, 16))
    yield Shop(orders, payments)
    orders.close()
    payments.close()


@pytest.mark.slow
def test_a_participant_that_is_away_for_a_minute_holds_up_its_own_orders_and_all_end_within_30_s_of_its_return(
    shop: Shop, own_server: OwnServer, orders_database: ServiceDatabase
) -> None:
    shop.credit("away", 100_000)
    recovery: Recovery = shop.recovery(Bounds())
    pivot: WalletPivot = shop.pivot
    recovery.start()
    pivot.start()
    try:
        paid = [shop.confirm("away", 100)[0] for _ in range(4)]
        own_server.server.kill()
        back_at_s, pause = time.monotonic() + AWAY_S, threading.Event()
        while time.monotonic() < back_at_s:
            paid.append(shop.confirm("away", 100)[0])
            # An order that no wallet pays goes on meanwhile: nothing of it waits for payments.
            card = shop.place("away", 100, "card")
            assert shop.types(card) == ["ORDER_CREATED"]
            pause.wait(ORDER_EVERY_S)
        own_server.restart()
        wait_for(lambda: all_confirmed(shop, paid), SETTLED_WITHIN_S, "all orders to be confirmed")
        wait_for(lambda: not prepared(orders_database.service_url), SETTLED_WITHIN_S, "nothing to be prepared")
        assert shop.decisions.damaged() == []
        assert shop.balance("away") == 100_000 - 100 * len(paid)
    finally:
        pivot.stop()
        recovery.stop()


def all_confirmed(shop: Shop, order_ids: list[str]) -> bool:
    return all(shop.types(order_id)[-1] == "ORDER_CONFIRMED" for order_id in order_ids)


def prepared(url: str) -> list[object]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute("select gid from pg_prepared_xacts").fetchall()
