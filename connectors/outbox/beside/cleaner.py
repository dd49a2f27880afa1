"""Cleans up published rows beside the stream: a thread and a connection of its own, so that carrying never waits for it.

Steps of one round: 1. a horizon is asked for; 2. between two batches the carrier allows it once the stored position has
passed it, and says which rows still wait; 3. the slot must have confirmed it too; 4. only then are rows removed, piece by
piece. What is removed is therefore in Kafka, and neither this connector nor the server ever asks for it again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import psycopg
import structlog

from connectors.outbox.beside.horizon import Horizon
from connectors.outbox.beside.rounds import Allowed, Rounds
from connectors.outbox.config import Cleaning, OutboxConfig
from connectors.outbox.database import connect
from connectors.outbox.errors import DatabaseLost, TableUnfit, first_line
from connectors.outbox.metrics import Metrics
from connectors.outbox.outboxes import Outboxes
from connectors.outbox.positions import StoredPosition
from connectors.outbox.values import TIMESTAMP, TIMESTAMPTZ
from connectors.outbox.waiting.aggregates import Blocked

_log = structlog.get_logger()

_AGAIN_S = 60.0
_LOOK_AGAIN_S = 0.2
_LOCK_TIMEOUT_MS = 100
_ANSWER_WITHIN_S = 30
_END_WITHIN_S = 2.0


@dataclass(slots=True)
class _Asked:
    """A horizon that the thread waits for, and the carrier's answer."""

    horizon: Horizon
    answer: Allowed | None = None


class Cleaner:
    """One for each stream; does nothing unless the options ask for it. A database that refuses is told of and asked again.

    Raises TableUnfit for a table without the column that tells a row's age.
    """

    def __init__(self, config: OutboxConfig, outboxes: Outboxes, blocked: Blocked, metrics: Metrics) -> None:
        self._config, self._blocked, self._metrics = config, blocked, metrics
        self._cleaning = config.cleaning
        self._asked: _Asked | None = None
        self._ended, self._answered = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        if self._cleaning is not None:
            _check_age_field(self._cleaning, outboxes)

    def serve(self, stored: StoredPosition) -> None:
        """Allows the round that waits for it. No batch may be open: then what is blocked is what is stored."""
        if self._cleaning is None:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(self._cleaning,), name="cleaner", daemon=True)
            self._thread.start()
        asked = self._asked
        if asked is not None and asked.answer is None and stored.position >= asked.horizon.position:
            asked.answer = Allowed(asked.horizon, [entry.row_id for entry in self._blocked])
            self._answered.set()

    def close(self) -> None:
        """The stream has ended: nothing is removed any more, but for the piece that is on its way."""
        self._ended.set()
        self._answered.set()
        if self._thread is not None:
            self._thread.join(_END_WITHIN_S)
            self._thread = None

    def _run(self, cleaning: Cleaning) -> None:
        while not self._ended.is_set():
            try:
                with connect(self._config, answer_within_s=_ANSWER_WITHIN_S) as connection:
                    connection.execute(f"set lock_timeout = {_LOCK_TIMEOUT_MS}")
                    Rounds(self._config, cleaning, connection, self._metrics, self._ended).run(self._permission)
            except (psycopg.Error, DatabaseLost) as error:
                # Carrying goes on; where the database is away, the carrier itself says so.
                _log.warning("published rows are not cleaned up", error=first_line(error), again_in_s=_AGAIN_S)
                self._ended.wait(_AGAIN_S)

    def _permission(self, horizon: Horizon) -> Allowed | None:
        """Waits until the carrier allows what lies before the horizon; None when the stream has ended."""
        self._answered.clear()
        self._asked = asked = _Asked(horizon)
        while asked.answer is None and not self._ended.is_set():
            self._answered.wait(_LOOK_AGAIN_S)
        return asked.answer


def _check_age_field(cleaning: Cleaning, outboxes: Outboxes) -> None:
    for table in outboxes.tables.values():
        types = {column.name: column.type_oid for column in table.columns}
        if cleaning.age_field is not None and types.get(cleaning.age_field) not in (TIMESTAMP, TIMESTAMPTZ):
            raise TableUnfit(
                f"table {'.'.join(table.name)} has no column {cleaning.age_field} of type timestamp or timestamptz, by "
                f"which rows are to be cleaned up"
            )
