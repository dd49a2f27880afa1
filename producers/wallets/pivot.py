"""The pivot of an order that is paid from a wallet: CONFIRMED in one database and debited in the other, or neither.

One two-phase commit, in this order:
1. the noted confirmation is taken in the orders database; whoever holds it, in doubt or not, keeps it from all others;
2. the order decides; one that was rejected or cancelled meanwhile refuses, and the wallet is not asked;
3. the wallet is debited and the payment recorded in the payments database; where the wallet refuses nothing is written
   there, so that database drops out, and the order is rejected by a commit in one phase;
4. order, answer to the saga and closing of the confirmation are written, and both databases are committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import psycopg
import structlog

from producers.orders.aggregate import ORDERS, confirm
from producers.orders.wallet_orders import open_wallet_orders, take
from producers.store.connections import Pool
from producers.store.deciding import Refused, finish, load, record, restamp
from producers.store.port import OUTCOME_DONE, OUTCOME_REFUSED, Answer
from producers.store.postgres import PostgresUnit
from producers.two_phase.coordinator import Coordinator
from producers.two_phase.errors import InDoubt
from producers.two_phase.participant import Branch, Outcome
from producers.wallets.aggregate import DebitWallet
from producers.wallets.paying import debit
from schemas.codec import AvroCodec, Codec
from schemas.envelope import Message, now
from schemas.errors import Conflict
from schemas.messages import OrderRejected

log = structlog.get_logger(__name__)

ORDERS_DATABASE, PAYMENTS_DATABASE = "orders", "payments"
AT_ONCE_MAX = 4
LOOK_EVERY_S = 0.05
STOP_WITHIN_S = 5.0


class _NotOurs(Exception):
    """Somebody else has the confirmation, or had it."""


@dataclass(frozen=True, slots=True)
class PivotSettings:
    """How a pivot runs: so many at once, new ones looked for this often."""

    at_once_max: int = AT_ONCE_MAX
    look_every_s: float = LOOK_EVERY_S
    clock: Callable[[], datetime] = now


class WalletPivot:
    """Does noted confirmations; several may run at once, also in several processes."""

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
        with self._orders.connection() as connection:
            ids = open_wallet_orders(connection)
        return sum(self._workers.map(self.pay, ids))

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
        stamped = restamp(command, self._settings.clock())
        order = load(unit, ORDERS, command.envelope.subject)
        decision = confirm(order.state)
        refusal, events = decision.reason if isinstance(decision, Refused) else None, decision.events
        if events:
            state = order.state
            wanted = DebitWallet(state.customer_id, state.total_minor, state.currency, command.envelope.subject)
            payments = PostgresUnit(branches[PAYMENTS_DATABASE].connection, self._codec)
            refusal = debit(payments, wanted, stamped)
            events = (OrderRejected(refusal),) if refusal else events
        recorded = record(unit, ORDERS, order, events, stamped)
        _answer(unit, stamped, (order.head.name, order.head.version), recorded, refusal)

    def _loop(self) -> None:
        while not self._stopping.wait(self._settings.look_every_s):
            try:
                self.run_open()
            except psycopg.OperationalError as error:
                log.warning("orders database out of reach", error=type(error).__name__)


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
