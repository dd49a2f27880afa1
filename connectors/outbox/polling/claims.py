"""One outbox table as a polling session sees it: looks at it, claims rows of it, writes their status.

Aggregates are claimed, not rows: each falls into one of 64 buckets, and a bucket's advisory lock is held until the
transaction ends, so that an aggregate's rows leave through one process at a time. The rows are read in a statement of
their own after the locks: its snapshot shows all that the lock's last holder did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from connectors.outbox.config import OutboxConfig, TableName
from connectors.outbox.errors import ClaimLost, DatabaseLost, TableUnfit
from connectors.outbox.outboxes import Outboxes
from connectors.outbox.pgoutput import Column, Values
from connectors.outbox.polling.batches import RowKey
from connectors.outbox.polling.options import Polling
from connectors.outbox.polling.settled import NOTHING, Settled
from connectors.outbox.polling.statements import BUCKETS, Statements
from connectors.outbox.routing import Route
from connectors.outbox.values import epoch_us
from connectors.outbox.waiting.entries import Entry


@dataclass(frozen=True, slots=True)
class Row:
    """A claimed row; `letter` is the key of its dead letter if it was FAILED before."""

    number: int
    row_id: str
    values: Values
    letter: bytes | None

    @property
    def bytes(self) -> int:
        """Of its texts, as a frame of the log would hold them."""
        return sum(len(value or b"") + 5 for value in self.values)


class Claims:
    """One table in one session. Everything raises psycopg.Error."""

    def __init__(
        self,
        connection: psycopg.Connection,
        config: OutboxConfig,
        polling: Polling,
        outboxes: Outboxes,
        table: TableName,
    ) -> None:
        self._connection, self._polling, self._outboxes, self.table = connection, polling, outboxes, table
        self._statements = Statements.of(connection, config, polling, outboxes.tables[table])
        self.settled = Settled()
        # In the buckets that were locked last nothing is left up to here, but for index entries of what was published.
        self._above = self._read_up_to = NOTHING
        self._locked: Sequence[int] = ()
        self._route: Route | None = None
        connection.execute(self._statements.announce)

    def forget(self) -> None:
        """Looks at the whole table again: rows may have come back to PENDING behind what was read."""
        self._above = NOTHING

    def look(self) -> tuple[bool, list[int]]:
        """Whether there is something to claim, and the seats that are taken."""
        found = self._connection.execute(self._statements.look, {"above": self._above}).fetchone()
        if found is None:
            raise DatabaseLost("a look without an answer")
        newest, writers, seats = found
        self.settled.look(newest, frozenset(writers))
        return newest is not None and self._above < self.settled.up_to, sorted(seats)

    def claim(self, buckets: Sequence[int]) -> list[Row]:
        """Locks what is free of the buckets; gives their next rows, by number. A transaction must be open."""
        statements = self._statements
        locked = [bucket for (bucket,) in self._connection.execute(statements.lock, (list(buckets),)).fetchall()]
        self._read_up_to = self._above
        if not locked:
            return []
        if locked != self._locked:
            self._locked, self._above, self._read_up_to = locked, NOTHING, NOTHING
        failed = self._connection.execute(statements.failed).fetchall() if statements.failed is not None else []
        values: dict[str, Any] = {
            "above": self._above,
            "settled": self.settled.up_to,
            "buckets": locked,
            "kinds": [kind for kind, _, _ in failed],
            "keys": [key for _, key, _ in failed],
        }
        query = statements.claim(every_bucket=len(locked) == BUCKETS, with_failed=bool(failed))
        rows, stored_bytes = self._rows(self._connection.execute(query, values))
        if len(rows) == self._polling.rows_max or stored_bytes >= self._polling.bytes_max:
            self._read_up_to = rows[-1].number
        elif len(locked) == len(buckets):
            self._read_up_to = self.settled.up_to
        for _, _, number in failed:
            self._stay_before(number)
        return rows

    def done(self) -> None:
        """The rows that `claim` gave are dealt with: the next are looked for behind them."""
        self._above = self._read_up_to

    def _stay_before(self, failed: int) -> None:
        """A failed row must be read before those that wait behind it, once it is redriven."""
        self._read_up_to = min(self._read_up_to, failed - 1)

    @property
    def route(self) -> Route:
        """The rules for the rows that `claim` gave last."""
        if self._route is None:
            raise DatabaseLost("nothing was claimed yet")
        return self._route

    def written_us(self, row: Row) -> int | None:
        """When it was written, Unix microseconds, by its timestamp column; None without one."""
        text = None if (name := self._statements.time) is None else self.route.text(row.values, name)
        try:
            return None if text is None else epoch_us(text.encode())
        except ValueError:
            return None

    def publish(self, numbers: Sequence[int]) -> int:
        """Writes PUBLISHED; gives the transaction's id. Raises ClaimLost if somebody else has changed one of the rows."""
        found = self._connection.execute(self._statements.publish, (list(numbers),)).fetchone()
        if found is None:
            raise DatabaseLost("an update without an answer")
        count, transaction = found
        if count > len(numbers):
            raise TableUnfit(
                f"two rows of table {'.'.join(self.table)} have the same {self._polling.order_column}: "
                f"it must come from one sequence"
            )
        if count < len(numbers):
            raise ClaimLost(f"{len(numbers) - count} rows were changed or deleted by somebody else meanwhile")
        return int(transaction)

    def fail(self, entry: Entry) -> None:
        """Writes FAILED with its reason."""
        number, _ = entry.place
        if not self._connection.execute(self._statements.fail, (entry.reason, entry.letter, number)).rowcount:
            raise ClaimLost(f"row {entry.row_id} was changed or deleted by somebody else meanwhile")
        self._stay_before(number)

    def keys(self, numbers: Sequence[int]) -> list[RowKey]:
        """What stands in the table under these numbers, in order."""
        return [
            (number, row_id) for number, row_id in self._connection.execute(self._statements.keys, (list(numbers),))
        ]

    def mark_published(self, numbers: Sequence[int]) -> int:
        """Writes PUBLISHED where PENDING stands; gives how many."""
        found = self._connection.execute(self._statements.publish, (list(numbers),)).fetchone()
        return 0 if found is None else int(found[0])

    def figures(self) -> tuple[int, int, int, int | None]:
        """(rows PENDING, of these behind a FAILED one, rows FAILED, Unix microseconds of the oldest PENDING), each bounded."""
        found = self._connection.execute(self._statements.figures).fetchone()
        if found is None:
            raise DatabaseLost("figures without an answer")
        pending, waiting, failed, oldest_us = found
        return pending, waiting, failed, oldest_us

    def _rows(self, cursor: psycopg.Cursor[Any]) -> tuple[list[Row], int]:
        """The rows by number, and the bytes of their payloads as they are stored."""
        result = cursor.pgresult
        if result is None:
            raise DatabaseLost("a claim without a result")
        # The last column is our own.
        width = result.nfields - 1
        columns = [Column((result.fname(at) or b"").decode(), result.ftype(at), result.fmod(at)) for at in range(width)]
        if self._route is None or list(self._route.columns) != self._outboxes.tables[self.table].understood(columns):
            self._route = self._outboxes.route_of_query(self.table, columns)
        names = [column.name for column in columns]
        number_at, letter_at = names.index(self._polling.order_column), names.index(self._polling.letter_column)
        rows = []
        for row in range(result.ntuples):
            values = [result.get_value(row, at) for at in range(width)]
            letter = values[letter_at]
            rows.append(
                Row(
                    int(values[number_at] or 0),
                    self._route.row_id(values),
                    values,
                    None if letter is None else bytes.fromhex(letter[2:].decode()),
                )
            )
        return rows, int(result.get_value(result.ntuples - 1, width) or 0) if rows else 0
