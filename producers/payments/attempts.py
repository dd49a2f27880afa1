"""The attempt runner: calls the provider between the two transactions of a payment, never within one.

The order is the correctness:
1. the sink's transaction kept the command, PAYMENT_REQUESTED and the attempt (`producers.payments.handler`);
2. a runner takes the attempt by a lease, in a transaction of its own;
3. it calls the provider under the payment's key, outside any transaction; from the second try on it first asks
   what the provider knows, for it may have died after the call; where the call was answered with an error, nothing is
   unknown and it calls again;
4. one transaction keeps the result as events, the command's answer, the reply to the saga, and closes the attempt.
A crash anywhere leaves the attempt open; when its lease ends, the next runner goes on at 2 with the same key.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from producers.payments import lease
from producers.payments.aggregate import (
    AUTHORISE,
    CAPTURE,
    CAPTURED,
    REFUND,
    Payment,
    ProviderResult,
    decide_refund,
    decide_result,
    payment_aggregate,
)
from producers.payments.lease import Attempt
from producers.payments.provider import PENDING, UNKNOWN, Provider, ProviderFailed, ProviderUnanswered
from producers.store.connections import Connection, Pool
from producers.store.deciding import TRIES_MAX, Postponed, Refused, finish, load, record, restamp
from producers.store.port import OUTCOME_DONE, OUTCOME_REFUSED, Answer
from producers.store.postgres import PostgresUnit
from schemas.codec import AvroCodec, Codec
from schemas.envelope import now
from schemas.errors import Conflict
from schemas.messages import RefundPayment, VoidPayment

_log = structlog.stdlib.get_logger(__name__)

# A call that is never answered holds its thread for 3 s; the others must not stand behind a few of these.
CALLS_MAX = 16
# Attempts that became due, or whose lease ended, are found this often; new ones are heard of at once.
LOOK_EVERY_S = 0.25
LISTEN_AGAIN_AFTER_S = 1.0
STOP_WITHIN_S = 5.0
# A provider that still works on a payment is asked for its status; every so many tries it is asked anew,
# should it have forgotten its work.
ASK_ANEW_EVERY = 4
# Begins the reason of a refund that the provider's book does not allow; behind it stands the status there.
REFUND_REFUSED = "PROVIDER_SAYS_"


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """How a runner runs. `reached` is told each named point that it passes: claimed, called, kept."""

    calls_max: int = CALLS_MAX
    lease_s: float = lease.LEASE_S
    look_every_s: float = LOOK_EVERY_S
    clock: Callable[[], datetime] = now
    reached: Callable[[str], None] = lambda _: None


class AttemptRunner:
    """Does the attempts of the payments' database; several may run at once, also in several processes.

    Wire it beside the sink of `payments.commands`: `start` before the sink, `stop` after it.
    It hears of new attempts by itself (LISTEN); `wake` makes it look at once.
    """

    def __init__(
        self, pool: Pool, provider: Provider, codec: Codec | None = None, settings: RunnerSettings | None = None
    ) -> None:
        self._pool, self._provider, self._codec = pool, provider, codec or AvroCodec()
        self._settings = settings or RunnerSettings()
        # Unique to this runner: a lease must not pass for that of a successor with the same process id.
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._stopping, self._look = threading.Event(), threading.Event()
        self._free = threading.Semaphore(self._settings.calls_max)
        self._calls = ThreadPoolExecutor(self._settings.calls_max, "attempt")
        self._threads = [
            threading.Thread(target=self._dispatch, name="attempts", daemon=True),
            threading.Thread(target=self._listen, name="attempts-listen", daemon=True),
        ]

    def start(self) -> None:
        """Begins; once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends after the calls in hand, or leaves them to their leases."""
        self._stopping.set()
        self._look.set()
        for thread in self._threads:
            thread.join(STOP_WITHIN_S)
        self._calls.shutdown(wait=True, cancel_futures=True)

    def wake(self) -> None:
        """There may be something to do."""
        self._look.set()

    def _dispatch(self) -> None:
        """Takes as many attempts as there are threads free for them."""
        while not self._stopping.is_set():
            self._look.clear()
            for attempt in self._claim():
                self._settings.reached("claimed")
                self._calls.submit(self._run, attempt)
            self._look.wait(self._settings.look_every_s)

    def _claim(self) -> list[Attempt]:
        slots = 0
        while slots < self._settings.calls_max and self._free.acquire(blocking=False):
            slots += 1
        taken: list[Attempt] = []
        try:
            if slots:
                with self._pool.connection() as connection, lease.one_statement(connection):
                    taken = lease.claim(connection, self._owner, slots, self._settings.lease_s)
        except (psycopg.OperationalError, PoolTimeout) as error:
            # The database is away; the next look tries again, and probes tell of it meanwhile.
            _log.warning("cannot look for attempts", error=str(error))
        if slots > len(taken):
            self._free.release(slots - len(taken))
        return taken

    def _run(self, attempt: Attempt) -> None:
        """One attempt: the call, then its result."""
        try:
            self._attempt(attempt)
        except ProviderFailed as failed:
            self._put_back(attempt, f"{lease.ANSWERED}{failed}")
        except ProviderUnanswered as unanswered:
            self._put_back(attempt, str(unanswered))
        except (psycopg.Error, PoolTimeout, Conflict) as error:
            # Nothing of the result was kept: its lease ends, and the next try asks the provider for the status.
            _log.warning("an attempt was not kept", payment=attempt.payment_id, error=str(error))
        except Exception:
            # Without this the executor would swallow it: the attempt comes back when its lease ends.
            _log.exception("an attempt failed", payment=attempt.payment_id)
        finally:
            self._free.release()
            self._look.set()

    def _attempt(self, attempt: Attempt) -> None:
        aggregate = payment_aggregate(attempt.payment_id)
        state = aggregate.state_of(attempt.head)
        decision = aggregate.decide(state, attempt.command.body)
        result = self._call(attempt, state, decision.call) if isinstance(decision, Postponed) else None
        self._settings.reached("called")
        if result is not None and result.status in (PENDING, UNKNOWN):
            raise ProviderUnanswered(f"the provider says {result.status}")
        self._keep(attempt, result)
        self._settings.reached("kept")

    def _call(self, attempt: Attempt, payment: Payment, call: str) -> ProviderResult:
        """Asks the provider; never within a transaction."""
        key = attempt.payment_id
        if call == AUTHORISE:
            if attempt.void_reason is not None:
                return self._provider.void(key)
            if attempt.tries > 1 and not attempt.answered:
                known = self._status(key)
                if known.status not in (UNKNOWN, PENDING):
                    return known
                if known.status == PENDING and attempt.tries % ASK_ANEW_EVERY:
                    return known
            return self._provider.authorise(key, payment.amount_minor, payment.currency, payment.reference)
        if call == CAPTURE:
            return self._provider.capture(key)
        if call == REFUND:
            part: RefundPayment = attempt.command.body
            return self._provider.refund_part(key, part.number, part.amount_minor)
        return self._provider.refund(key) if payment.status == CAPTURED else self._provider.void(key)

    def _status(self, key: str) -> ProviderResult:
        try:
            return self._provider.status(key)
        except ProviderFailed as failed:
            # An error in place of the status says nothing of the authorisation.
            raise ProviderUnanswered(str(failed)) from failed

    def _keep(self, attempt: Attempt, result: ProviderResult | None) -> None:
        """The second transaction, again after a conflict."""
        for tries_left in reversed(range(TRIES_MAX)):
            try:
                with self._unit() as unit:
                    if lease.still_held(unit.connection, attempt, self._owner):
                        self._keep_in(unit, attempt, result)
                return
            except Conflict:
                if not tries_left:
                    raise

    def _keep_in(self, unit: PostgresUnit, attempt: Attempt, result: ProviderResult | None) -> None:
        aggregate = payment_aggregate(attempt.payment_id)
        command = restamp(attempt.command, self._settings.clock())
        loaded = load(unit, aggregate, attempt.payment_id)
        bodies = () if result is None else _events(loaded.state, result, attempt)
        state = loaded.state
        for body in bodies:
            state = aggregate.evolve(state, body)
        decision = aggregate.decide(state, command.body)
        if isinstance(decision, Postponed) and decision.call == REFUND and result is not None:
            decision = Refused(f"{REFUND_REFUSED}{result.status}")
        with unit.together():
            events = record(unit, aggregate, loaded, bodies, command)
            if isinstance(decision, Postponed):
                # The provider was further than we knew (captured, and now to be refunded): on with the next call.
                lease.put_back(unit.connection, attempt, self._owner, f"next: {decision.call}", 0.0)
                return
            answer = Answer(
                outcome=OUTCOME_REFUSED if isinstance(decision, Refused) else OUTCOME_DONE,
                reason=decision.reason if isinstance(decision, Refused) else None,
                version=loaded.head.version + len(events),
                events=tuple(event.envelope.id for event in events),
                aggregate=loaded.head.name,
            )
            finish(unit, command, answer, aggregate.source)
            lease.close(unit.connection, attempt)

    def _put_back(self, attempt: Attempt, error: str) -> None:
        try:
            with self._pool.connection() as connection:
                lease.put_back(connection, attempt, self._owner, error, lease.pause_after(attempt.tries))
        except (psycopg.OperationalError, PoolTimeout) as away:
            # Its lease ends by itself; that only takes longer.
            _log.warning("an attempt was not put back", payment=attempt.payment_id, error=str(away))

    def _listen(self) -> None:
        """Wakes the dispatcher when a transaction that noted an attempt is committed."""
        while not self._stopping.is_set():
            try:
                with self._listening() as connection:
                    while not self._stopping.is_set():
                        for _ in connection.notifies(timeout=self._settings.look_every_s, stop_after=1):
                            self._look.set()
            except (psycopg.OperationalError, PoolTimeout) as error:
                # Attempts are found without it, only later.
                _log.warning("cannot listen for attempts", error=str(error))
                self._stopping.wait(LISTEN_AGAIN_AFTER_S)

    @contextmanager
    def _listening(self) -> Iterator[Connection]:
        with self._pool.connection() as connection:
            connection.autocommit = True
            connection.execute(f"listen {lease.CHANNEL}")
            yield connection
            connection.execute("unlisten *")
            connection.autocommit = False

    @contextmanager
    def _unit(self) -> Iterator[PostgresUnit]:
        with self._pool.connection() as connection:
            yield PostgresUnit(connection, self._codec)


def _events(payment: Payment, result: ProviderResult, attempt: Attempt) -> tuple[Any, ...]:
    """What the provider's word means for our books."""
    command = attempt.command.body
    if isinstance(command, RefundPayment):
        return decide_refund(payment, result, command, attempt.payment_id)
    return decide_result(payment, result, _reason(attempt), attempt.payment_id)


def _reason(attempt: Attempt) -> str:
    """Why money would be given back by this attempt."""
    body = attempt.command.body
    return body.reason if isinstance(body, VoidPayment) else attempt.void_reason or ""
