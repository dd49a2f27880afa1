"""Orders and wallets on two real servers, paid by one two-phase commit or by the two local steps of a saga."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from producers.orders.aggregate import ORDERS, confirm
from producers.orders.handler import OrderCommands
from producers.orders.service import OrderService, Origin
from producers.orders.wallet_orders import take
from producers.store.connections import PoolSize, open_pool
from producers.store.deciding import finish, load, record
from producers.store.migrating import migrate
from producers.store.port import OUTCOME_DONE, Answer
from producers.store.postgres import PostgresEventStore, PostgresUnit
from producers.two_phase.coordinator import Coordinator
from producers.two_phase.decisions import Decisions
from producers.two_phase.postgres import PostgresParticipant
from producers.two_phase.recovery import Recovery
from producers.wallets.aggregate import CreditWallet, DebitWallet
from producers.wallets.paying import debit
from producers.wallets.pivot import PivotSettings, WalletPivot
from producers.wallets.service import WalletService
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, new_id, now
from schemas.errors import Conflict
from schemas.messages import ConfirmOrder, CreateOrder, OrderLine
from tally.local.postgres import Postgres

CODEC = AvroCodec()
CREDIT_MINOR, TOTAL_MINOR = 10**9, 100
SERVICES = ("orders", "payments")


@contextmanager
def two_servers(folder: Path) -> Iterator[dict[str, Postgres]]:
    """A server for each service; commits wait for the disk."""
    servers = {name: Postgres(folder / name) for name in SERVICES}
    try:
        for server in servers.values():
            server.data_dir.mkdir()
            server.data_dir.chmod(0o755)
            server.start()
        yield servers
    finally:
        for server in servers.values():
            server.stop()
            server.remove_data()


class Held:
    """How long each order's wallet row was locked, in ms: from the debit to the end of its transaction."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self._since = threading.local()

    def reached(self, step: str) -> None:
        """Told by pivot and coordinator."""
        if step == "debited":
            self._since.s = time.perf_counter()
        elif step == "after commit payments":
            self.ms.append((time.perf_counter() - self._since.s) * 1_000)


class Shop:
    """Orders on one server, payments and wallets on another."""

    def __init__(self, servers: dict[str, Postgres], at_once: int) -> None:
        databases = {name: servers[name].create_services()[name] for name in SERVICES}
        for name in SERVICES:
            migrate(name, databases[name].owner_url)
        size = PoolSize(at_once, 3 * at_once + 4)
        self.orders = open_pool(databases["orders"].service_url, "bench-orders", size)
        self.payments = open_pool(databases["payments"].service_url, "bench-payments", size)
        self.held = Held()
        self.decisions = Decisions(self.orders)
        participants = {
            "orders": PostgresParticipant("orders", self.orders),
            "payments": PostgresParticipant("payments", self.payments),
        }
        owner = self.decisions.begin_life("bench")
        coordinator = Coordinator(owner, self.decisions, participants, self.held.reached)
        settings = PivotSettings(at_once_max=at_once, reached=self.held.reached)
        self.pivot = WalletPivot(self.orders, coordinator, CODEC, settings)
        self.recovery = Recovery(owner, self.decisions, participants)

    def close(self) -> None:
        """Gives the connections back."""
        self.orders.close()
        self.payments.close()

    def place(self, orders: int, wallets: int) -> list[str]:
        """Orders over so many wallets, as far as their noted confirmations; the ids of these."""
        names = [f"c-{new_id()}" for _ in range(wallets)]
        for name in names:
            self.credit(name)
        return [self.place_one(names[index % wallets]) for index in range(orders)]

    def credit(self, customer_id: str) -> None:
        """More money into a wallet than any run takes."""
        service = WalletService(PostgresEventStore(self.payments, CODEC))
        service.credit(Origin("bench", "credits", new_id()), CreditWallet(customer_id, CREDIT_MINOR, "GBP"))

    def place_one(self, customer_id: str) -> str:
        """One order as far as its noted confirmation; the id of that."""
        service, handler = OrderService(PostgresEventStore(self.orders, CODEC)), OrderCommands(CODEC)
        body = CreateOrder(customer_id, "GBP", (OrderLine(1, "S", 1, TOTAL_MINOR),), "wallet", "w")
        order_id, _ = service.place(Origin("bench", "orders", new_id()), body)
        id_ = new_id()
        envelope = Envelope(id_, "CONFIRM_ORDER", "/tally/sagas", "orders", order_id, None, now(), id_, id_)
        with self.orders.connection() as connection:
            handler.handle(connection, Message(envelope, ConfirmOrder()))
        return id_

    def done(self) -> int:
        """How many confirmations were brought to an end."""
        return self._count("select count(*) from wallet_orders where state = 'DONE'")

    def prepared(self) -> int:
        """How many transactions are prepared on the server of orders."""
        return self._count("select count(*) from pg_prepared_xacts")

    def by_two_phase_commit(self, id_: str) -> bool:
        """One transaction over both databases; whether it came to an end."""
        return self.pivot.pay(id_)

    def by_saga_steps(self, id_: str) -> bool:
        """A debit in one local transaction, then the confirmation in another; whether it came to an end."""
        try:
            wanted, cause = self._wanted(id_)
            with self.payments.connection() as connection:
                refusal = debit(PostgresUnit(connection, CODEC), wanted, cause)
                # A commit whose answer was lost: the repeat finds it done, as any participant of a saga must.
                assert refusal in (None, "PAYMENT_IS_CAPTURED"), refusal
                self.held.reached("debited")
            self.held.reached("after commit payments")
            with self.orders.connection() as connection:
                unit = PostgresUnit(connection, CODEC)
                command = take(connection, id_)
                assert command is not None, "each is worked once"
                order = load(unit, ORDERS, wanted.order_id)
                record(unit, ORDERS, order, confirm(order.state).events, command)
                finish(unit, command, Answer(OUTCOME_DONE), ORDERS.source)
        except (Conflict, psycopg.OperationalError):
            return False
        return True

    def _wanted(self, id_: str) -> tuple[DebitWallet, Message]:
        with self.orders.connection() as connection:
            row = connection.execute("select order_id from wallet_orders where id = %s", (id_,)).fetchone()
            assert row is not None
            state = load(PostgresUnit(connection, CODEC), ORDERS, row[0]).state
        cause = new_id()
        envelope = Envelope(cause, "DEBIT_WALLET", "/tally/sagas", "wallets", row[0], None, now(), cause, cause)
        return (
            DebitWallet(state.customer_id, state.total_minor, state.currency, row[0]),
            Message(envelope, ConfirmOrder()),
        )

    def _count(self, query: str) -> int:
        with self.orders.connection() as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])
