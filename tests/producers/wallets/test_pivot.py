"""Orders paid from a wallet, on two real databases: confirmed and debited, or neither."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from running_system import wait_for
from wallet_shop import Shop

from producers.orders.wallet_orders import CHANNEL
from producers.store.connections import Pool
from schemas.messages import CancelOrder, ConfirmOrder, RefundPayment, VoidPayment
from tally.local.databases import ServiceDatabase


@pytest.fixture
def shop(orders_pool: Pool, payments_pool: Pool) -> Shop:
    return Shop(orders_pool, payments_pool)


def test_a_confirmation_debits_the_wallet_and_answers_the_saga(shop: Shop) -> None:
    shop.credit("c1", 1000)
    order_id = shop.place("c1", 400)
    command = shop.sink(ConfirmOrder(), order_id)
    assert shop.answer(command) is None
    assert shop.pivot.run_open() == 1
    assert shop.types(order_id) == ["ORDER_CREATED", "ORDER_CONFIRMED"]
    assert shop.balance("c1") == 600
    assert shop.payment_types("wallets", "c1") == ["WALLET_CREDITED", "WALLET_DEBITED"]
    assert shop.payment_types("payments", order_id) == ["PAYMENT_REQUESTED", "PAYMENT_CAPTURED"]
    assert shop.answer(command).outcome == "DONE"
    assert shop.pivot.run_open() == 0


def test_too_little_money_rejects_the_order_and_takes_nothing(shop: Shop) -> None:
    shop.credit("c1", 399)
    order_id = shop.place("c1", 400)
    command = shop.sink(ConfirmOrder(), order_id)
    shop.pivot.run_open()
    assert shop.types(order_id) == ["ORDER_CREATED", "ORDER_REJECTED"]
    assert (shop.answer(command).outcome, shop.answer(command).reason) == ("REFUSED", "INSUFFICIENT_FUNDS")
    assert shop.balance("c1") == 399


def test_an_order_that_was_cancelled_meanwhile_takes_nothing(shop: Shop) -> None:
    shop.credit("c1", 1000)
    order_id = shop.place("c1", 400)
    command = shop.sink(ConfirmOrder(), order_id)
    shop.sink(CancelOrder("CUSTOMER"), order_id)
    shop.pivot.run_open()
    assert shop.answer(command).reason == "ORDER_IS_CANCELLED"
    assert shop.balance("c1") == 1000


def test_a_void_after_the_confirmation_gives_the_money_back_once(shop: Shop) -> None:
    shop.credit("c1", 1000)
    order_id = shop.place("c1", 400)
    shop.sink(ConfirmOrder(), order_id)
    shop.pivot.run_open()
    shop.sink(VoidPayment("CUSTOMER"), order_id)
    shop.sink(VoidPayment("CUSTOMER"), order_id)
    assert shop.balance("c1") == 1000
    assert shop.payment_types("payments", order_id)[-1] == "PAYMENT_REFUNDED"


def test_returned_lines_give_a_wallet_their_part_back_once(shop: Shop) -> None:
    shop.credit("c1", 1000)
    order_id = shop.place("c1", 400)
    shop.sink(ConfirmOrder(), order_id)
    shop.pivot.run_open()
    shop.sink(RefundPayment(150, "RETURNED", 4), order_id)
    shop.sink(RefundPayment(150, "RETURNED", 4), order_id)
    assert shop.balance("c1") == 750
    shop.sink(RefundPayment(250, "RETURNED", 5), order_id)
    shop.sink(VoidPayment("CUSTOMER"), order_id)
    assert shop.balance("c1") == 1000
    assert shop.payment_types("payments", order_id)[2:] == ["PAYMENT_REFUNDED"] * 2


def test_many_orders_of_one_wallet_never_take_more_than_it_has(shop: Shop) -> None:
    shop.credit("c1", 1000)
    placed = [shop.place("c1", 300) for _ in range(8)]
    for order_id in placed:
        shop.sink(ConfirmOrder(), order_id)
    with ThreadPoolExecutor(2) as others:
        for done in [others.submit(shop.pivot.run_open) for _ in range(2)]:
            done.result(60)
    shop.pivot.run_open()
    ended = [shop.types(order_id)[-1] for order_id in placed]
    assert sorted(ended) == ["ORDER_CONFIRMED"] * 3 + ["ORDER_REJECTED"] * 5
    assert shop.balance("c1") == 100


def test_a_running_pivot_hears_of_a_confirmation_and_looks_for_none(shop: Shop) -> None:
    shop.credit("c1", 1000)
    noted_before, noted_later = shop.place("c1", 300), shop.place("c1", 300)
    shop.sink(ConfirmOrder(), noted_before)
    shop.pivot.start()
    try:
        wait_for(lambda: shop.balance("c1") == 700, 30, "what was noted before it ran")
        shop.sink(ConfirmOrder(), noted_later)
        wait_for(lambda: shop.balance("c1") == 400, 30, "what it was called for")
    finally:
        shop.pivot.stop()


def test_one_whose_wallet_is_held_is_tried_again_without_another_call(
    shop: Shop, payments_database: ServiceDatabase
) -> None:
    shop.credit("c1", 1000)
    order_id = shop.place("c1", 400)
    with psycopg.connect(payments_database.service_url, autocommit=True) as other:
        other.execute("begin")
        other.execute("select 1 from heads where aggregateid = 'c1' for update")
        shop.pivot.start()
        try:
            shop.sink(ConfirmOrder(), order_id)
            wait_for(waiting_for_a_row(other), 30, "the pivot to wait for the wallet")
            wait_for(lambda: not waiting_for_a_row(other)(), 30, "the pivot to give up for now")
            assert shop.balance("c1") == 1000
            other.execute("rollback")
            wait_for(lambda: shop.balance("c1") == 600, 30, "the next try")
        finally:
            shop.pivot.stop()


def waiting_for_a_row(connection: psycopg.Connection[Any]) -> Callable[[], bool]:
    query = "select exists (select from pg_locks where not granted and locktype in ('transactionid', 'tuple'))"
    return lambda: bool(connection.execute(query).fetchone()[0])  # type: ignore[index]


def test_the_confirmation_of_a_card_order_calls_no_pivot(shop: Shop, orders_database: ServiceDatabase) -> None:
    shop.credit("c1", 1000)
    with psycopg.connect(orders_database.service_url, autocommit=True) as listener:
        listener.execute(f"listen {CHANNEL}")
        shop.sink(ConfirmOrder(), shop.place("c1", 400, "card"))
        shop.sink(ConfirmOrder(), shop.place("c1", 400))
        assert len(list(listener.notifies(timeout=30, stop_after=1))) == 1
        assert list(listener.notifies(timeout=0)) == []
