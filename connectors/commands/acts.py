"""What operators ask of a sink's dead letters, each act in one transaction with the position behind it.

A redrive makes the commands that were set aside due again, and the next passes over parked commands work them and what
waits behind them, in order and in transactions of bounded size. A discard takes a command out of its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from connectors.commands import parked, positions
from connectors.commands.config import SinkConfig
from connectors.commands.database import batch_transaction
from connectors.commands.handler import Connection
from connectors.commands.letters import Letters
from connectors.commands.parked import Line, Parked
from connectors.commands.positions import Move
from connectors.consuming import Record
from schemas.envelope import Envelope, Message, derive_id, now
from schemas.errors import Undecodable
from schemas.letters import DISCARD, REDRIVE
from schemas.messages import ActOnDeadLetters, DeadLettersActed, wire_type
from schemas.records import decode_record
from schemas.topics import AUDIT_TRAIL

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Acts:
    """Works acts of one sink."""

    config: SinkConfig
    letters: Letters

    def work(self, connection: Connection, expected: Mapping[int, int], records: list[Record]) -> int:
        """Acts in the order of their offsets; gives how many rows are parked now. Raises as `Batches.work`."""
        ends = {record.partition: record.offset + 1 for record in records}
        with batch_transaction(connection):
            positions.move(connection, self.config.acts_topic, {p: Move(expected[p], end) for p, end in ends.items()})
            for record in records:
                try:
                    message = decode_record(record.headers, record.value, self.letters.codec)
                except Undecodable as error:
                    # Every reader of this topic sees it; the workers keep its letter.
                    log.warning("not an act", partition=record.partition, offset=record.offset, error=error.reason)
                    continue
                if isinstance(message.body, ActOnDeadLetters):
                    self._act(connection, message, record.partition)
            return parked.waiting(connection, self.config.topic, sorted(expected)).rows

    def _act(self, connection: Connection, message: Message, partition: int) -> None:
        wish = message.body
        done = left = 0
        for line, first in parked.dead(connection, self.config.topic, [partition]):
            whole = parked.line_of(connection, self.config.topic, line, self.config.parked.rows_max)
            meant = [command for command in whole if _means(wish, line, command)]
            if not meant:
                continue
            if wish.act == REDRIVE:
                parked.raise_up(connection, first.record)
            elif wish.act == DISCARD:
                for command in meant:
                    parked.remove(connection, command.record)
                    if command.letter is not None:
                        self.letters.forget(connection, command.letter)
                    done += 1
            left += len(whole)
        if left:
            self._note(connection, message, partition, (done, left - done))

    def _note(self, connection: Connection, message: Message, partition: int, counts: tuple[int, int]) -> None:
        """Who did what, and why, for the audit trail."""
        wish, cause, at = message.body, message.envelope, now()
        origin = self.letters.origin
        body = DeadLettersActed(wish.act, wish.by, wish.reason, origin, wish.letter, wish.key, *counts)
        envelope = Envelope(
            id=derive_id(cause.id, "trail", origin, partition),
            type=wire_type(DeadLettersActed),
            source=f"/tally/{origin}",
            aggregatetype="dead-letters",
            subject=cause.subject,
            version=None,
            recorded_at=at,
            correlation_id=cause.correlation_id,
            causation_id=cause.id,
        )
        self.letters.send(connection, AUDIT_TRAIL, Message(envelope, body))


def _means(wish: ActOnDeadLetters, line: Line, command: Parked) -> bool:
    if wish.letter is not None:
        return command.letter == wish.letter
    return wish.key is None or line[1] == wish.key.encode()
