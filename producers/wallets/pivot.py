"""The pivot of an order that is paid from a wallet: CONFIRMED in one database and debited in the other, or neither.

One two-phase commit, in this order:
1. the noted confirmation is taken in the orders database; whoever holds it, in doubt or not, keeps it from all others;
2. the order decides; one that was rejected or cancelled meanwhile refuses, and the wallet is not asked;
3. the wallet is debited and the payment recorded in the payments database; where the wallet refuses nothing is written
   there but its marker, and the order is rejected;
4. order, answer to the saga and closing of the confirmation are written, and both databases are committed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
import structlog

from producers.orders.aggregate import ORDERS, confirm
from producers.orders.wallet_orders import CHANNEL, OPEN_A_LOOK_MAX, open_wallet_orders, take
from producers.store.connections import Connection, Pool
from producers.store.deciding import Refused, finish, load, record, restamp
from producers.store.port import OUTCOME_DONE, OUTCOME_REFUSED, Answer
from producers.store.postgres import PostgresUnit
from producers.two_phase.coordinator import Coordinator, no_steps
from producers.two_phase.errors import InDoubt
from producers.two_phase.participant import Branch, Outcome, Steps
from producers.wallets.aggregate import DebitWallet
from producers.wallets.paying import debit
from schemas.codec import AvroCodec, Codec
from schemas.envelope import Message, now
from schemas.errors import Conflict
from schemas.messages import OrderRejected

log = structlog.get_logger(__name__)

ORDERS_DATABASE, PAYMENTS_DATABASE = "orders", "payments"
AT_ONCE_MAX = 4
# New confirmations are heard of (NOTIFY); a look without a call finds what a lost connection did not tell.
LOOK_EVERY_S = 5.0
# One that came to no end is tried again after a pause, doubling: most wait for a wallet's row, some for a database.
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0
LISTEN_AGAIN_AFTER_S = 1.0
# A wait for calls cannot be broken off from outside; so often it looks whether it is to end.
STOP_SEEN_WITHIN_S = 0.5
STOP_WITHIN_S = 5.0


class _NotOurs(Exception):
    """Somebody else has the confirmation, or had it."""


@dataclass(frozen=True, slots=True)
class PivotSettings:
    """How a pivot runs: so many at once; looked for this often although nobody called.

    `reached` is told each named point inside the work that it passes: taken, debited, recorded.
    """

    at_once_max: int = AT_ONCE_MAX
    look_every_s: float = LOOK_EVERY_S
    clock: Callable[[], datetime] = now
    reached: Steps = no_steps


class WalletPivot:
    """Does noted confirmations; several may run at once, also in several processes.

    It hears of them by itself (LISTEN), so that it costs nothing while no order is paid from a wallet.
    """

    def __init__(
        self, orders: Pool, coordinator: Coordinator, codec: Codec | None = None, settings: PivotSettings | None = None
    ) -> None:
        self._orders, self._coordinator, self._codec = orders, coordinator, codec or AvroCodec()
        self._settings = settings or PivotSettings()
        self._stopping = threading.Event()
        self._workers = ThreadPoolExecutor(self._settings.at_once_max, "wallet-pivot")
        self._thread = threading.Thread(target=self._loop, name="wallet-pivots", daemon=True)

    def start(self) -> None:
        """Begins; once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after those in hand."""
        self._stopping.set()
        self._thread.join(STOP_WITHIN_S)
        self._workers.shutdown(wait=True, cancel_futures=True)

    def run_open(self) -> int:
        """Does what is open now, and waits for it; how many were brought to an end."""
        return self._look()[1]

    def pay(self, id_: str) -> bool:
        """Does one confirmation; False where it must be tried again, or is somebody else's."""
        try:
            outcome = self._coordinator.run(
                (ORDERS_DATABASE, PAYMENTS_DATABASE), lambda branches: self._work(branches, id_)
            )
        except _NotOurs:
            return False
        except (Conflict, InDoubt, psycopg.OperationalError) as reason:
            # Busy, out of reach, or moved meanwhile: the row stands open, or recovery closes it.
            log.info("tries again", confirmation=id_, error=type(reason).__name__)
            return False
        return outcome is Outcome.COMMIT

    def _work(self, branches: Mapping[str, Branch], id_: str) -> None:
        unit = PostgresUnit(branches[ORDERS_DATABASE].connection, self._codec)
        command = take(unit.connection, id_)
        if command is None:
            raise _NotOurs(id_)
        self._settings.reached("taken")
        stamped = restamp(command, self._settings.clock())
        order = load(unit, ORDERS, command.envelope.subject)
        decision = confirm(order.state)
        refusal, events = decision.reason if isinstance(decision, Refused) else None, decision.events
        if events:
            state = order.state
            wanted = DebitWallet(state.customer_id, state.total_minor, state.currency, command.envelope.subject)
            payments = PostgresUnit(branches[PAYMENTS_DATABASE].connection, self._codec)
            refusal = debit(payments, wanted, stamped)
            self._settings.reached("debited")
            events = (OrderRejected(refusal),) if refusal else events
        recorded = record(unit, ORDERS, order, events, stamped)
        _answer(unit, stamped, (order.head.name, order.head.version), recorded, refusal)
        self._settings.reached("recorded")

    def _look(self) -> tuple[int, int]:
        """How many were open, and how many of them were brought to an end."""
        with self._orders.connection() as connection:
            ids = open_wallet_orders(connection)
        return len(ids), sum(self._workers.map(self.pay, ids))

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._listening() as connection:
                    self._follow(connection)
            except psycopg.OperationalError as error:
                log.warning("orders database out of reach", error=type(error).__name__)
                self._stopping.wait(LISTEN_AGAIN_AFTER_S)

    def _follow(self, connection: Connection) -> None:
        pause_s = RETRY_FIRST_S
        while not self._stopping.is_set():
            found, done = self._look()
            if found == done:
                pause_s = RETRY_FIRST_S
                self._wait(connection, self._settings.look_every_s if found < OPEN_A_LOOK_MAX else 0.0)
            else:
                self._wait(connection, pause_s)
                pause_s = min(2 * pause_s, RETRY_MAX_S)

    def _wait(self, connection: Connection, within_s: float) -> None:
        """Until a call comes, the time is up, or the end."""
        ends_at_s = time.monotonic() + within_s
        while not self._stopping.is_set() and (left_s := ends_at_s - time.monotonic()) > 0:
            if list(connection.notifies(timeout=min(left_s, STOP_SEEN_WITHIN_S), stop_after=1)):
                return

    @contextmanager
    def _listening(self) -> Iterator[Connection]:
        # Before the first look: what is noted after it calls.
        with self._orders.connection() as connection:
            connection.autocommit = True
            connection.execute(f"listen {CHANNEL}")
            try:
                yield connection
            finally:
                # It goes back to the pool as it came, unless it is lost.
                if not connection.closed:
                    connection.execute("unlisten *")
                    connection.autocommit = False


def _answer(
    unit: PostgresUnit, command: Message, at: tuple[str, int], events: tuple[Message, ...], refusal: str | None
) -> None:
    answer = Answer(
        outcome=OUTCOME_REFUSED if refusal else OUTCOME_DONE,
        reason=refusal,
        version=at[1] + len(events),
        events=tuple(event.envelope.id for event in events),
        aggregate=at[0],
    )
    finish(unit, command, answer, ORDERS.source)
