"""What is prepared in a database, and what it costs: age, log that it pins, tables that it holds, who waits for it.

And whether it is still the same database as before.
"""

from __future__ import annotations

from dataclasses import dataclass

from producers.store.connections import Connection
from producers.two_phase.identifiers import Identifier, parse

# A prepared transaction has no process: its locks have no pid and are found by the lock on its own number, and
# `pg_blocking_pids` names it as 0.
_FOUND = """
select p.gid, extract(epoch from clock_timestamp() - p.prepared)::float8,
       coalesce((select array_agg(distinct l.relation::regclass::text order by l.relation::regclass::text)
                 from pg_locks l join pg_class c on c.oid = l.relation and c.relkind = 'r'
                 join pg_locks t on t.virtualtransaction = l.virtualtransaction
                 where l.pid is null and t.pid is null and l.database = d.oid
                 and t.locktype = 'transactionid' and t.transactionid = p.transaction), '{}'),
       coalesce((select max(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn))
                 from pg_replication_slots s)::float8, 0),
       (select count(*) from pg_stat_activity a where 0 = any(pg_blocking_pids(a.pid)))
from pg_prepared_xacts p join pg_database d on d.datname = p.database
where p.database = current_database() order by p.prepared
"""
# Who restores a backup starts the server, or makes the database anew.
_LIFE = "select concat(pg_postmaster_start_time(), ' ', oid) from pg_database where datname = current_database()"
MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Held:
    """A prepared transaction, ours (`identifier`) or not.

    `pinned_mb` is the log that the slots of the whole server hold back while it is open; `sessions_waiting` wait for
    locks of prepared transactions of this server.
    """

    gid: str
    identifier: Identifier | None
    age_s: float
    tables: tuple[str, ...]
    pinned_mb: float
    sessions_waiting: int

    @property
    def told(self) -> str:
        """In one sentence, with what it blocks."""
        return (
            f"prepared {self.age_s:.0f} s ago; holds rows of {', '.join(self.tables) or 'nothing'}, "
            f"{self.sessions_waiting} session(s) wait, {self.pinned_mb:.1f} MB of log are pinned; "
            "until it ends no logical slot can be created on this server"
        )


def held(connection: Connection) -> list[Held]:
    """All prepared transactions of this database, oldest first."""
    return [
        Held(gid, parse(gid), age_s, tuple(tables), pinned / MB, waiting)
        for gid, age_s, tables, pinned, waiting in connection.execute(_FOUND).fetchall()
    ]


def life(connection: Connection) -> str:
    """Another after each start of the server and for each database that is made under the name."""
    row = connection.execute(_LIFE).fetchone()
    assert row is not None, "there is the database that one is connected to"
    return str(row[0])
