"""Orders, payments and wallets over two real databases, with the sinks' side of them; and whether the money adds up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from producers.orders.handler import OrderCommands
from producers.orders.service import OrderService, Origin
from producers.payments.handler import PaymentCommands
from producers.store.connections import Pool
from producers.store.postgres import PostgresEventStore
from producers.two_phase.coordinator import Coordinator, no_steps
from producers.two_phase.decisions import Decisions
from producers.two_phase.participant import Steps
from producers.two_phase.postgres import PostgresParticipant
from producers.two_phase.recovery import Bounds, Recovery
from producers.wallets.aggregate import CreditWallet
from producers.wallets.pivot import PivotSettings, WalletPivot
from producers.wallets.service import WalletService
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import ConfirmOrder, CreateOrder, OrderLine, RefundPayment, VoidPayment, wire_type

CODEC = AvroCodec()
# Longer than any test waits: what is done before was called for.
NEVER_LOOKS = PivotSettings(look_every_s=600.0)
CREDITED = "select payload from outbox where aggregatetype = 'wallets' and type = 'WALLET_CREDITED'"
BALANCES = "select coalesce(sum((snapshot ->> 'balance_minor')::bigint), 0) from heads where aggregatetype = 'wallets'"
PAID = """
select coalesce(sum((snapshot ->> 'total_minor')::bigint), 0) from heads where aggregatetype = 'orders'
and snapshot ->> 'payment_method' = 'wallet' and snapshot ->> 'status' in ('CONFIRMED', 'SHIPPED')
"""


@dataclass
class Shop:
    """Orders, payments and wallets, with the sinks' side of them."""

    orders: Pool
    payments: Pool
    steps: Steps = no_steps

    def __post_init__(self) -> None:
        self.order_service = OrderService(PostgresEventStore(self.orders, CODEC))
        self.wallets = WalletService(PostgresEventStore(self.payments, CODEC))
        self.participants = {
            "orders": PostgresParticipant("orders", self.orders),
            "payments": PostgresParticipant("payments", self.payments),
        }
        self.decisions = Decisions(self.orders)
        coordinator = Coordinator(self.decisions.begin_life("test"), self.decisions, self.participants, self.steps)
        self.pivot = WalletPivot(self.orders, coordinator, CODEC, NEVER_LOOKS)

    def recovery(self, bounds: Bounds) -> Recovery:
        return Recovery(self.decisions.begin_life("test"), self.decisions, self.participants, bounds)

    def credit(self, customer_id: str, amount_minor: int) -> None:
        self.wallets.credit(Origin("test", "credits", new_id()), CreditWallet(customer_id, amount_minor, "GBP"))

    def place(self, customer_id: str, total_minor: int, method: str = "wallet") -> str:
        body = CreateOrder(customer_id, "GBP", (OrderLine(1, "S", 1, total_minor),), method, "w")
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

    def confirm(self, customer_id: str, total_minor: int) -> tuple[str, Message]:
        """An order as far as its noted confirmation: its id, and the command."""
        order_id = self.place(customer_id, total_minor)
        return order_id, self.sink(ConfirmOrder(), order_id)

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

    def unexplained_minor(self) -> int:
        """Credits less balances less what confirmed orders took; nothing when the books balance."""
        with self.payments.connection() as connection:
            credited = sum(CODEC.decode(bytes(row[0])).amount_minor for row in connection.execute(CREDITED))
            balances = connection.execute(BALANCES).fetchone()
        with self.orders.connection() as connection:
            paid = connection.execute(PAID).fetchone()
        assert balances is not None
        assert paid is not None
        return int(credited) - int(balances[0]) - int(paid[0])
