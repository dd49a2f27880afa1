"""The payments server is away for a full minute in the middle of a payment: orders wait, nothing splits, all is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

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


class Death:
    """Of the payments server, at the first payment that is decided and not yet committed."""

    def __init__(self, own_server: OwnServer) -> None:
        self._own_server, self._once, self.happened = own_server, threading.Lock(), threading.Event()

    def __call__(self, step: str) -> None:
        """Told by the coordinator."""
        if step == "after decision" and self._once.acquire(blocking=False):
            self._own_server.server.kill()
            self.happened.set()


@pytest.fixture
def death(own_server: OwnServer) -> Death:
    return Death(own_server)


@pytest.fixture
def shop(own_server: OwnServer, orders_database: ServiceDatabase, death: Death) -> Iterator[Shop]:
    """Payments on a server of its own."""
    orders = open_pool(orders_database.service_url, "orders", PoolSize(1, 16))
    payments = open_pool(own_server.emptied("payments").service_url, "payments", PoolSize(1, 16))
    yield Shop(orders, payments, death)
    orders.close()
    payments.close()


@pytest.mark.slow
def test_a_participant_that_is_away_for_a_minute_holds_up_its_own_orders_and_all_end_within_30_s_of_its_return(
    shop: Shop, own_server: OwnServer, death: Death
) -> None:
    shop.credit("away", 100_000)
    recovery: Recovery = shop.recovery(Bounds())
    pivot: WalletPivot = shop.pivot
    recovery.start()
    pivot.start()
    try:
        paid = [shop.confirm("away", 100)[0] for _ in range(4)]
        assert death.happened.wait(SETTLED_WITHIN_S)
        assert shop.decisions.open() != []
        back_at_s, pause = time.monotonic() + AWAY_S, threading.Event()
        while time.monotonic() < back_at_s:
            paid.append(shop.confirm("away", 100)[0])
            # An order that no wallet pays goes on meanwhile: nothing of it waits for payments.
            card = shop.place("away", 100, "card")
            assert shop.types(card) == ["ORDER_CREATED"]
            pause.wait(ORDER_EVERY_S)
        own_server.restart()
        wait_for(lambda: is_over(shop, paid), SETTLED_WITHIN_S, "all orders confirmed and nothing open")
        assert shop.decisions.damaged() == []
        assert shop.balance("away") == 100_000 - 100 * len(paid)
        assert shop.unexplained_minor() == 0
    finally:
        pivot.stop()
        recovery.stop()


def is_over(shop: Shop, order_ids: list[str]) -> bool:
    if any(shop.types(order_id)[-1] != "ORDER_CONFIRMED" for order_id in order_ids) or shop.decisions.open():
        return False
    # Asked last: a pool needs a moment to find out that its server is back.
    return not any(there.prepared() for there in shop.participants.values())
