"""Measures a wallet order's pivot as one two-phase commit against the same as two steps of a saga, on one real server.

`python -m bench.two_phase [--orders N] [--at-once N] [--rounds N]`
Two databases, commits that wait for the disk. The saga's side is its two local transactions alone (debit, then confirm),
without the way through Kafka between them, so its latency here is a floor: in the whole system each hop adds to it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

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
from producers.wallets.aggregate import CreditWallet, DebitWallet
from producers.wallets.paying import debit
from producers.wallets.pivot import WalletPivot
from producers.wallets.service import WalletService
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, new_id, now
from schemas.errors import Conflict
from schemas.messages import ConfirmOrder, CreateOrder, OrderLine
from tally.local.postgres import Postgres

CODEC = AvroCodec()
CREDIT_MINOR, TOTAL_MINOR = 10**9, 100
TRIES_MAX = 200


@dataclass(frozen=True)
class Figures:
    """Of one run: orders a second, and the latency of an order in ms."""

    rate: float
    p50_ms: float
    p99_ms: float


class Shop:
    """Orders and wallets on one server."""

    def __init__(self, server: Postgres, at_once: int) -> None:
        databases = server.create_services()
        for name in ("orders", "payments"):
            migrate(name, databases[name].owner_url)
        size = PoolSize(at_once, 3 * at_once + 2)
        self.orders = open_pool(databases["orders"].service_url, "bench-orders", size)
        self.payments = open_pool(databases["payments"].service_url, "bench-payments", size)
        decisions = Decisions(self.orders)
        participants = {
            "orders": PostgresParticipant("orders", self.orders),
            "payments": PostgresParticipant("payments", self.payments),
        }
        coordinator = Coordinator(decisions.begin_life("bench"), decisions, participants)
        self.pivot = WalletPivot(self.orders, coordinator, CODEC)

    def close(self) -> None:
        self.orders.close()
        self.payments.close()

    def place(self, orders: int, wallets: int) -> list[str]:
        """Orders over so many wallets, as far as their noted confirmations; the ids of these."""
        names = [f"c-{new_id()}" for _ in range(wallets)]
        wallet_service = WalletService(PostgresEventStore(self.payments, CODEC))
        for name in names:
            wallet_service.credit(Origin("bench", "credits", name), CreditWallet(name, CREDIT_MINOR, "GBP"))
        service, handler, ids = OrderService(PostgresEventStore(self.orders, CODEC)), OrderCommands(CODEC), []
        for index in range(orders):
            body = CreateOrder(names[index % wallets], "GBP", (OrderLine(1, "S", 1, TOTAL_MINOR),), "wallet", "w")
            order_id, _ = service.place(Origin("bench", "orders", new_id()), body)
            id_ = new_id()
            envelope = Envelope(id_, "CONFIRM_ORDER", "/tally/sagas", "orders", order_id, None, now(), id_, id_)
            with self.orders.connection() as connection:
                handler.handle(connection, Message(envelope, ConfirmOrder()))
            ids.append(id_)
        return ids

    def by_two_phase_commit(self, id_: str) -> bool:
        return self.pivot.pay(id_)

    def by_saga_steps(self, id_: str) -> bool:
        """A debit in one local transaction, then the confirmation in another."""
        try:
            with self.orders.connection() as connection:
                row = connection.execute("select order_id from wallet_orders where id = %s", (id_,)).fetchone()
                assert row is not None
                order = load(PostgresUnit(connection, CODEC), ORDERS, row[0])
            id2 = new_id()
            envelope = Envelope(id2, "DEBIT_WALLET", "/tally/sagas", "wallets", row[0], None, now(), id2, id2)
            wanted = DebitWallet(order.state.customer_id, order.state.total_minor, order.state.currency, row[0])
            with self.payments.connection() as connection:
                assert debit(PostgresUnit(connection, CODEC), wanted, Message(envelope, ConfirmOrder())) is None
            with self.orders.connection() as connection:
                unit = PostgresUnit(connection, CODEC)
                command = take(connection, id_)
                assert command is not None
                order = load(unit, ORDERS, row[0])
                record(unit, ORDERS, order, confirm(order.state).events, command)
                finish(unit, command, Answer(OUTCOME_DONE), ORDERS.source)
        except Conflict:
            return False
        return True


def measure(act: Callable[[str], bool], ids: list[str], at_once: int) -> Figures:
    """Does all, so many at once; latency counts from an order's first try."""

    def until_done(id_: str) -> float:
        began = time.perf_counter()
        for _ in range(TRIES_MAX):
            if act(id_):
                return (time.perf_counter() - began) * 1_000
        raise AssertionError(f"confirmation {id_} was not done in {TRIES_MAX} tries")

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as workers:
        taken = sorted(workers.map(until_done, ids))
    rate = len(ids) / (time.perf_counter() - began)
    return Figures(rate, statistics.median(taken), taken[min(len(taken) - 1, int(len(taken) * 0.99))])


def main(argv: list[str]) -> int:
    """Prints a table: medians of the rounds."""
    parser = argparse.ArgumentParser(prog="python -m bench.two_phase")
    parser.add_argument("--orders", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder))
        server.start()
        try:
            shop = Shop(server, given.at_once)
            print(f"{'wallets':>8} {'how':<18} {'orders/s':>9} {'p50 ms':>8} {'p99 ms':>8}", flush=True)
            for wallets in (given.orders, 1):
                for how, act in (("two-phase commit", shop.by_two_phase_commit), ("saga steps", shop.by_saga_steps)):
                    found = [
                        measure(act, shop.place(given.orders, wallets), given.at_once) for _ in range(given.rounds)
                    ]
                    rate, p50, p99 = (
                        statistics.median(getattr(f, n) for f in found) for n in ("rate", "p50_ms", "p99_ms")
                    )
                    print(f"{wallets:>8} {how:<18} {rate:>9.0f} {p50:>8.1f} {p99:>8.1f}", flush=True)
            shop.close()
        finally:
            server.stop()
            server.remove_data()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
