"""Which rows of a table are published, told by their transactions' ids: a row itself carries no log position.

A horizon is asked for in two steps, in this order: every transaction below `below` is over, and then where the log ends.
So the commit record of each of them lies before `position`; once that is stored, all their rows are in Kafka, but for
those that the connector keeps back itself. It errs only towards "not yet": an open transaction holds `below` back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from connectors.outbox.errors import DatabaseLost
from connectors.outbox.positions import parse_position

# xmin has 32 bits of the id, so it is compared in a circle: what is more than two thousand million transactions old
# looks as if it were not over.
_BELOW = "(({row}.xmin::text::bigint - {below}) & 4294967295) >= 2147483648"


@dataclass(frozen=True, slots=True)
class Horizon:
    """Every transaction below `below` was over at `asked_at` (the server's clock), its commit record before `position`."""

    below: int
    position: int
    asked_at: datetime

    def holds(self, row: str = "o") -> sql.Composed:
        """The condition for rows of the table called `row` in the statement."""
        return sql.SQL(_BELOW).format(row=sql.Identifier(row), below=sql.Literal(self.below))


def ask_horizon(connection: psycopg.Connection) -> Horizon:
    """The horizon of now, on an autocommit connection. Raises psycopg.Error, DatabaseLost.

    The end of the log may be a page that nobody flushes for long, and the stream gets only what is flushed: a
    transaction that does nothing flushes it, and is no row of anybody.
    """
    below = connection.execute("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint").fetchone()
    end = connection.execute("select pg_current_wal_insert_lsn()::text, clock_timestamp()").fetchone()
    connection.execute("select pg_logical_emit_message(true, 'tally-outbox-horizon', '')")
    if below is None or end is None:
        raise DatabaseLost("the server does not say where its log ends")
    return Horizon(int(below[0]), parse_position(end[0]), end[1])
