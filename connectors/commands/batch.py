"""One batch of commands as one database transaction.

1. The positions move, each from where we believe it stands; a moved one ends the batch (another owner lives).
   The rows stay locked, so that nobody else works these partitions until we have committed.
2. Each command is worked in a savepoint, unless its line waits: then it is parked behind.
3. Commit: positions, effects, command ids, answers, parked commands and dead letters at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from connectors.commands import parked, positions
from connectors.commands.attempt import Attempted, Attempts, Outcome
from connectors.commands.config import SinkConfig
from connectors.commands.database import batch_transaction
from connectors.commands.handler import Connection
from connectors.commands.letters import Letters
from connectors.commands.parked import Line, Parked
from connectors.commands.positions import Move
from connectors.consuming import Record

# After some busy keys in one transaction waiting only makes it long; a free row needs no wait.
_HARDLY_WAIT = "set local lock_timeout = 1"


@dataclass(frozen=True, slots=True)
class Worked:
    """What a transaction did: commands by outcome, and the rows that are parked now."""

    outcomes: Counter[Outcome]
    parked_rows: int


@dataclass(frozen=True, slots=True)
class Batches:
    """Works batches of one sink."""

    config: SinkConfig
    attempts: Attempts
    letters: Letters

    def work(self, connection: Connection, expected: Mapping[int, int], records: list[Record]) -> Worked:
        """A batch of new records, in the order of their offsets. Raises Away, PositionMoved: nothing was kept."""
        ends = {record.partition: record.offset + 1 for record in records}
        outcomes: Counter[Outcome] = Counter()
        with batch_transaction(connection):
            positions.move(connection, self.config.topic, {p: Move(expected[p], end) for p, end in ends.items()})
            waiting = parked.waiting(connection, self.config.topic, sorted(expected))
            lines, dead, waits = set(waiting.lines), set(waiting.dead), 0
            for record in records:
                line: Line = (record.partition, record.key, None)
                if line in lines:
                    outcome, reason = Outcome.PARKED, parked.BEHIND
                    parked.park(connection, record, reason)
                    if line in dead:
                        self.letters.put_behind(connection, line, record)
                else:
                    attempted = self.attempts.work(connection, record)
                    outcome, reason = attempted.outcome, attempted.reason
                    if outcome is not Outcome.DONE:
                        self._park(connection, record, attempted, lines, dead)
                outcomes[outcome] += 1
                waits += outcome is Outcome.PARKED and reason != parked.BEHIND
                self._bound_waits(connection, waits, outcome)
        return Worked(outcomes, waiting.rows + outcomes[Outcome.PARKED] + outcomes[Outcome.DEAD_LETTERED])

    def retry(self, connection: Connection, expected: Mapping[int, int]) -> Worked:
        """Parked commands that are due, each line in its order up to the first that is still busy. Raises as `work`."""
        topic, bounds = self.config.topic, self.config.parked
        outcomes: Counter[Outcome] = Counter()
        with batch_transaction(connection):
            # A dead letter may wait for days: while nothing is due, nothing is written.
            lines = parked.due(connection, topic, sorted(expected), bounds)
            if lines:
                # The positions stay, and their lock fences: a former owner works no parked command either.
                positions.move(connection, topic, {p: Move(at, at) for p, at in expected.items()})
                lines = parked.due(connection, topic, sorted(expected), bounds)
            for line in lines:
                for command in parked.line_of(connection, topic, line, bounds.commands_a_key_max):
                    attempted = self.attempts.work(connection, command.record)
                    outcomes[attempted.outcome] += 1
                    if attempted.outcome is not Outcome.DONE:
                        self._leave(connection, line, command, attempted)
                        self._bound_waits(connection, outcomes[Outcome.PARKED], attempted.outcome)
                        break
                    self._end(connection, command)
            rows = parked.waiting(connection, topic, sorted(expected)).rows
        return Worked(outcomes, rows)

    def _park(
        self, connection: Connection, record: Record, attempted: Attempted, lines: set[Line], dead: set[Line]
    ) -> None:
        line: Line = (record.partition, record.key, record.offset if attempted.alone else None)
        parked.park(connection, record, attempted.reason, alone=attempted.alone)
        lines.add(line)
        if attempted.error is not None:
            dead.add(line)
            self.letters.set_aside(connection, line, Parked(record), attempted.error)

    def _leave(self, connection: Connection, line: Line, command: Parked, attempted: Attempted) -> None:
        """A parked command that was tried in vain."""
        if attempted.error is None:
            parked.postpone(connection, command.record, attempted.reason, self.config.parked)
            return
        self.letters.set_aside(connection, line, command, attempted.error)
        for behind in parked.line_of(connection, self.config.topic, line, self.config.parked.rows_max)[1:]:
            if behind.letter is None:
                self.letters.put_behind(connection, line, behind.record)

    def _end(self, connection: Connection, command: Parked) -> None:
        parked.remove(connection, command.record)
        if command.letter is not None:
            self.letters.forget(connection, command.letter)

    def _bound_waits(self, connection: Connection, waits: int, latest: Outcome) -> None:
        if latest is Outcome.PARKED and waits == self.config.waits_a_batch_max:
            connection.execute(_HARDLY_WAIT)
