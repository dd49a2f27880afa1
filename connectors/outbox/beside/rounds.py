"""Rounds of cleaning up, on one connection: which horizon is old enough, that the slot has confirmed it, and the walk."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import structlog
from psycopg import sql

from connectors.outbox.beside.horizon import Horizon, ask_horizon
from connectors.outbox.beside.removal import Rule, walk
from connectors.outbox.config import Cleaning, OutboxConfig, TableName
from connectors.outbox.database import find_slot
from connectors.outbox.metrics import Metrics
from connectors.outbox.positions import format_position
from schemas.outbox_status import PROGRESS, beside

_log = structlog.get_logger()

# A round walks the whole table, so rounds are rarer the longer rows are kept.
_ROUNDS_PER_KEEP = 24
_ROUND_MIN_S, _ROUND_MAX_S = 0.5, 3_600.0
# Horizons that are remembered where rows have no time of their own.
_HORIZONS_MAX = 24 * 366
# After a piece it rests twice as long as the piece took: at most a third of one of the server's processes.
_REST_FACTOR = 2.0
_REST_MIN_S = 0.01
_LOOK_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the stored position has passed, and the ids of the rows before it that are not published all the same."""

    horizon: Horizon
    kept: list[str]


class Rounds:
    """The cleaner's work until `ended` is set. Raises psycopg.Error, DatabaseLost."""

    def __init__(
        self,
        config: OutboxConfig,
        cleaning: Cleaning,
        connection: psycopg.Connection,
        metrics: Metrics,
        ended: threading.Event,
    ) -> None:
        self._config, self._cleaning, self._connection = config, cleaning, connection
        self._metrics, self._ended = metrics, ended
        self._every_s = min(max(cleaning.keep_s / _ROUNDS_PER_KEEP, _ROUND_MIN_S), _ROUND_MAX_S)
        self._horizons: deque[Horizon] = deque(maxlen=_HORIZONS_MAX)

    def run(self, permission: Callable[[Horizon], Allowed | None]) -> None:
        """Round after round; `permission` waits until a horizon is passed and gives None when the stream has ended."""
        while True:
            self._horizons.append(ask_horizon(self._connection))
            if (horizon := self._due()) is not None:
                allowed = permission(horizon)
                if allowed is None or not self._until_confirmed(horizon):
                    return
                for name in self._config.tables:
                    self._clean(name, allowed)
            if self._ended.wait(self._every_s):
                return

    def _due(self) -> Horizon | None:
        """The newest horizon that is old enough; where rows have a time of their own, that of now."""
        now, keep_s = self._horizons[-1].asked_at, self._cleaning.keep_s
        age = timedelta(seconds=keep_s if self._cleaning.age_field is None else 0)
        found = None
        while self._horizons and self._horizons[0].asked_at + age <= now:
            found = self._horizons.popleft()
        return found

    def _until_confirmed(self, horizon: Horizon) -> bool:
        """What is stored is told to the slot within seconds; False when the stream has ended."""
        while not self._ended.is_set():
            slot = find_slot(self._connection, self._config.slot)
            if slot is not None and slot.confirmed >= horizon.position:
                return True
            self._ended.wait(_LOOK_AGAIN_S)
        return False

    def _clean(self, name: TableName, allowed: Allowed) -> None:
        horizon, age_field = allowed.horizon, self._cleaning.age_field
        before = horizon.asked_at - timedelta(seconds=0 if age_field is None else self._cleaning.keep_s)
        rule = Rule(horizon, allowed.kept, before, self._config.routing.id_field, age_field)
        self._say_before(name, rule)
        removed = 0
        pieces = walk(self._connection, sql.Identifier(*name), rule)
        while not self._ended.is_set():
            began = time.monotonic()
            rows = next(pieces, None)
            if rows is None:
                break
            removed += rows
            self._metrics.cleaned_total += rows
            self._ended.wait(max(_REST_MIN_S, _REST_FACTOR * (time.monotonic() - began)))
        if removed:
            _log.info("published rows cleaned up", table=".".join(name), rows=removed)

    def _say_before(self, name: TableName, rule: Rule) -> None:
        """Where the status tables are, since when the outbox is whole: said before anything goes, so never too early."""
        schema, table = name
        progress = beside(table, PROGRESS)
        found = self._connection.execute(
            "select 1 from information_schema.columns where table_schema = %s and table_name = %s and "
            "column_name = 'cleaned_before'",
            (schema, progress),
        ).fetchone()
        if found is None:
            return
        statement = sql.SQL(
            "insert into {progress} as p (connector, position, published_below, cleaned_before) values (%s, %s, %s, %s) "
            "on conflict (connector) do update set cleaned_before = greatest(p.cleaned_before, excluded.cleaned_before)"
        ).format(progress=sql.Identifier(schema, progress))
        values = (self._config.name, format_position(rule.horizon.position), rule.horizon.below, rule.before)
        self._connection.execute(statement, values)
