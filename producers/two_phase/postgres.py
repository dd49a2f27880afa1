"""PostgreSQL as a participant: PREPARE TRANSACTION with a marker inside, and what a missing identifier means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors, sql
from psycopg_pool import PoolTimeout

from producers.store.connections import Connection, Pool
from producers.two_phase.identifiers import Identifier, parse
from producers.two_phase.inspecting import Held, held, life
from producers.two_phase.participant import A_LOOK_MAX, Outcome, Prepared, Resolution, Steps, Vote

_PREPARED = """
select gid, extract(epoch from clock_timestamp() - prepared)::float8
from pg_prepared_xacts where database = current_database() order by prepared
"""


class PostgresBranch:
    """One transaction on a connection of its own, in autocommit: `begin` and its end are said by name."""

    def __init__(self, connection: Connection, steps: Steps) -> None:
        self._connection, self._steps = connection, steps

    @property
    def connection(self) -> Connection:
        """See `Branch.connection`."""
        return self._connection

    def has_written(self) -> bool:
        """See `Branch.has_written`: a transaction that wrote has a number."""
        row = self._connection.execute("select pg_current_xact_id_if_assigned() is not null").fetchone()
        return row is not None and bool(row[0])

    def prepare(self, identifier: Identifier) -> Vote:
        """See `Branch.prepare`. A refusal by the server (no place for prepared transactions, a NOTIFY) is a no."""
        name = identifier.participant
        try:
            self._steps(f"before marker {name}")
            self._connection.execute(
                "insert into two_phase_markers (transaction) values (%s)", (identifier.transaction,)
            )
            self._steps(f"before prepare {name}")
            self._connection.execute(_with(sql.SQL("prepare transaction {}"), identifier))
        except psycopg.Error:
            return Vote.NO
        self._steps(f"after prepare {name}")
        return Vote.YES

    def commit_at_once(self) -> None:
        """See `Branch.commit_at_once`."""
        self._connection.execute("commit")


class PostgresParticipant:
    """A database that takes part, over a pool of connections to it as the role that owns the prepared transactions."""

    def __init__(self, name: str, pool: Pool) -> None:
        self._name, self._pool = name, pool

    @property
    def name(self) -> str:
        """See `Participant.name`."""
        return self._name

    @contextmanager
    def begin(self, steps: Steps) -> Iterator[PostgresBranch]:
        """See `Participant.begin`. Raises PoolTimeout, an OperationalError."""
        with self._by_name() as connection:
            connection.execute("begin")
            try:
                yield PostgresBranch(connection, steps)
            finally:
                if not connection.closed and connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    connection.execute("rollback")

    def resolve(self, identifier: Identifier, outcome: Outcome) -> Resolution:
        """See `Participant.resolve`. Out of reach, or in another session's hands: UNKNOWN."""
        act = sql.SQL("commit prepared {}" if outcome is Outcome.COMMIT else "rollback prepared {}")
        try:
            with self._by_name() as connection:
                try:
                    connection.execute(_with(act, identifier))
                except errors.UndefinedObject:
                    return _judge(
                        outcome, committed=identifier.transaction in _marked(connection, [identifier.transaction])
                    )
                return Resolution.AS_DECIDED
        except (psycopg.OperationalError, errors.ObjectInUse, PoolTimeout):
            return Resolution.UNKNOWN

    def life(self) -> str:
        """See `Participant.life`."""
        with self._by_name() as connection:
            return life(connection)

    def prepared(self) -> list[Prepared]:
        """See `Participant.prepared`."""
        with self._by_name() as connection:
            rows = connection.execute(_PREPARED).fetchall()
        found = [(parse(gid), age_s) for gid, age_s in rows]
        return [Prepared(identifier, age_s) for identifier, age_s in found if identifier is not None]

    def held(self) -> list[Held]:
        """All that is prepared here, strangers' too, with what it costs. Raises psycopg.OperationalError."""
        with self._by_name() as connection:
            return held(connection)

    def marked(self, transactions: Iterable[str]) -> set[str]:
        """See `Participant.marked`."""
        with self._by_name() as connection:
            return _marked(connection, transactions)

    def recently_marked(self, within_s: float) -> set[str]:
        """See `Participant.recently_marked`."""
        with self._by_name() as connection:
            rows = connection.execute(
                "select transaction::text from two_phase_markers"
                " where prepared_at > clock_timestamp() - make_interval(secs => %s)",
                (within_s,),
            ).fetchall()
        return {row[0] for row in rows}

    def newest_marked(self, skip: int) -> set[str]:
        """See `Participant.newest_marked`."""
        with self._by_name() as connection:
            rows = connection.execute(
                "select transaction::text from two_phase_markers order by prepared_at desc, transaction"
                f" limit {A_LOOK_MAX} offset %s",
                (skip,),
            ).fetchall()
        return {row[0] for row in rows}

    @contextmanager
    def _by_name(self) -> Iterator[Connection]:
        # COMMIT PREPARED may not run inside a transaction block, so none may be opened behind our back.
        with self._pool.connection() as connection:
            connection.autocommit = True
            try:
                yield connection
            finally:
                if not connection.closed and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                    connection.autocommit = False


def _marked(connection: Connection, transactions: Iterable[str]) -> set[str]:
    rows = connection.execute(
        "select transaction::text from two_phase_markers where transaction = any(%s::uuid[])", (list(transactions),)
    ).fetchall()
    return {row[0] for row in rows}


def _judge(outcome: Outcome, *, committed: bool) -> Resolution:
    if committed is (outcome is Outcome.COMMIT):
        return Resolution.AS_DECIDED
    return Resolution.HEURISTIC_COMMIT if committed else Resolution.HEURISTIC_ROLLBACK


def _with(statement: sql.SQL, identifier: Identifier) -> sql.Composed:
    return statement.format(sql.Literal(str(identifier)))
