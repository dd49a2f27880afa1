"""Orders paid from a wallet, on two real databases: confirmed and debited, or neither."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from producers.orders.handler import OrderCommands
from producers.orders.service import OrderService, Origin
from producers.payments.handler import PaymentCommands
from producers.store.connections import Pool
from producers.store.postgres import PostgresEventStore
from producers.two_phase.coordinator import Coordinator
from producers.two_phase.decisions import Decisions
from producers.two_phase.postgres import PostgresParticipant
from producers.wallets.aggregate import CreditWallet
from producers.wallets.pivot import WalletPivot
from producers.wallets.service import WalletService
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import CancelOrder, ConfirmOrder, CreateOrder, OrderLine, RefundPayment, VoidPayment, wire_type

CODEC = AvroCodec()


@dataclass
class Shop:
    """Orders, payments and wallets, with the sinks' side of them."""

    orders: Pool
    payments: Pool

    def __post_init__(self) -> None:
        self.order_service = OrderService(PostgresEventStore(self.orders, CODEC))
        self.wallets = WalletService(PostgresEventStore(self.payments, CODEC))
        participants = {
            "orders": PostgresParticipant("orders", self.orders),
            "payments": PostgresParticipant("payments", self.payments),
        }
        decisions = Decisions(self.orders)
        self.pivot = WalletPivot(self.orders, Coordinator(decisions.begin_life("test"), decisions, participants), CODEC)

    def credit(self, customer_id: str, amount_minor: int) -> None:
        self.wallets.credit(Origin("test", "credits", new_id()), CreditWallet(customer_id, amount_minor, "GBP"))

    def place(self, customer_id: str, total_minor: int) -> str:
        body = CreateOrder(customer_id, "GBP", (OrderLine(1, "S", 1, total_minor),), "wallet", "w")
        return self.order_service.place(Origin("test", "orders", new_id()), body)[0]

    def sink(self, body: Any, order_id: str) -> Message:
        """A command of the saga, as the sink gives it."""
        id_ = new_id()
        aggregatetype = "payments" if isinstance(body, (VoidPayment, RefundPayment)) else "orders"
        envelope = Envelope(id_, wire_type(type(body)), "/tally/sagas", aggregatetype, order_id, None, now(), id_, id_)
        command = Message(envelope, body)
        pool, handler = (
            (self.payments, PaymentCommands(CODEC))
            if aggregatetype == "payments"
            else (self.orders, OrderCommands(CODEC))
        )
        with pool.connection() as connection:
            handler.handle(connection, command)
        return command

    def types(self, order_id: str) -> list[str]:
        return [
            event.envelope.type for event in self.order_service.tail(order_id, 1, self.order_service.version(order_id))
        ]

    def balance(self, customer_id: str) -> int:
        return self.wallets.find(customer_id)[0].balance_minor

    def payment_types(self, aggregatetype: str, aggregate_id: str) -> list[str]:
        store = PostgresEventStore(self.payments, CODEC)
        return [event.envelope.type for event in store.read(aggregatetype, aggregate_id)]

    def answer(self, command: Message) -> Any:
        known = PostgresEventStore(self.orders, CODEC).find_command(command.envelope.id)
        assert known is not None
        return known.answer


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
