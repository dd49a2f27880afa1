"""Reads of committed rows: one row, a page, the sagas; with where each row stands and how fresh it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import merge, nlargest
from itertools import islice
from typing import Any

from faust_rdkafka import partition_of
from schemas.envelope import now
from schemas.keys import SEPARATOR, is_under, routing_key
from schemas.topics import PARTITIONS
from streams.letters.kept import Kept
from streams.letters.lanes import Lanes, lane_of
from streams.sagas.listing import IN_FLIGHT
from streams.sagas.state import OrderSaga, from_row
from streams.worker.agents import ORCHESTRATE, Agents
from streams.worker.parking import TABLE as WAITING

PAGE_LIMIT_DEFAULT = 100
PAGE_LIMIT_MAX = 1000
# Rows of these tables lie in the partition of something else than their own key.
ROUTED_BY_OTHER = frozenset({"stock_commands", "waiting", "rebuilds"})

# State of a saga one of whose messages was set aside.
PARKED = "PARKED"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WantedSagas:
    """Which sagas: of a state, that stand at a step, whose error has this text, that began so long ago and are not over."""

    state: str | None = None
    step: str | None = None
    error: str | None = None
    older_s: int | None = None

    @property
    def states(self) -> frozenset[str] | None:
        """Of which states they are in the list of sagas; None: of any. Most sagas ended long ago and need no look."""
        if self.step is not None or self.error is not None or self.older_s is not None:
            return IN_FLIGHT
        return None if self.state is None else frozenset({self.state})

    def is_met_by(self, saga: Row) -> bool:
        """Whether this saga, as people see it, is one of them."""
        return (
            self.state in (None, saga["state"])
            and (self.step in (None, saga["stuck_at"]) or self.step in (waits["step"] for waits in saga["waiting_for"]))
            and (self.error is None or self.error in (saga["error"] or ""))
            and (self.older_s is None or (saga["age_s"] or 0) >= self.older_s)
        )


class Recovering(Exception):
    """The tables are being restored, or nothing is assigned yet."""


class NotOurs(Exception):
    """The partition belongs to another worker."""

    def __init__(self, partition: int) -> None:
        super().__init__(f"partition {partition} belongs to another worker")
        self.partition = partition


class NoSuchTable(Exception):
    """There is no table of that name."""


@dataclass(frozen=True, slots=True)
class Found:
    """A row and the partition that holds it."""

    key: str
    value: Row
    partition: int


class Freshness:
    """When each partition was last known to be current: at its last commit, or when all of its topics were read."""

    def __init__(self) -> None:
        self._at: dict[int, float] = {}

    def confirm(self, partition: int) -> None:
        """The partition's tables show all that there is, now."""
        self._at[partition] = time.monotonic()

    def age_ms(self, partition: int) -> int | None:
        """Milliseconds since then; None while it never was."""
        at = self._at.get(partition)
        return None if at is None else int((time.monotonic() - at) * 1000)


class Reader:
    """Reads of one worker's tables; raises Recovering, NotOurs, NoSuchTable."""

    def __init__(self, agents: Agents, worker: str) -> None:
        self._app, self._tables, self._listed = agents.app, agents.tables, agents.sagas
        self._worker = worker
        self.freshness = Freshness()

    def tables(self) -> list[Row]:
        """Name, partitions and rows of each table as this worker holds it."""
        return [
            {
                "name": name,
                "partitions": sorted(table.partitions_owned()),
                "rows": sum(len(table.committed(p)) for p in table.partitions_owned()),
                "worker": self._worker,
            }
            for name, table in self._tables.items()
        ]

    def find(self, name: str, key: str) -> Found | None:
        """One committed row, `read=latest` never."""
        table = self._table(name)
        if name in ROUTED_BY_OTHER:
            partitions = sorted(table.partitions_owned())
        else:
            partitions = [self._owned(table, routing_key(name, key))]
        for partition in partitions:
            value = table.committed(partition).get(key)
            if value is not None:
                return Found(key, value, partition)
        return None

    def page(self, name: str, prefix: str, after: str | None, limit: int) -> tuple[list[Found], str | None]:
        """Rows in key order and the key after which the next page starts, None on the last page."""
        table = self._table(name)
        if SEPARATOR in prefix and name not in ROUTED_BY_OTHER:
            partitions = [self._owned(table, routing_key(name, prefix))]
        else:
            partitions = sorted(table.partitions_owned())
        rows = merge(*(_scan(table, p, prefix, after) for p in partitions), key=_key)
        found = list(islice((row for row in rows if is_under(name, prefix, row.key)), limit + 1))
        return found[:limit], found[limit - 1].key if len(found) > limit else None

    def sagas(self, wanted: WantedSagas, limit: int) -> list[Row]:
        """The newest sagas of those that are wanted."""
        table, at = self._table("order_sagas"), now()
        if wanted.state == PARKED:
            return self._parked_sagas(wanted, limit)
        rows = ((partition, table.committed(partition).get(key)) for partition, key in self._listed.each(wanted.states))
        found = (self.saga(row, partition, at) for partition, row in rows if row is not None)
        return list(islice(filter(wanted.is_met_by, found), limit))

    def _parked_sagas(self, wanted: WantedSagas, limit: int) -> list[Row]:
        """One that ended may be parked all the same, so these are looked for among what waits."""
        table, at, parked = self._table("order_sagas"), now(), lane_of(ORCHESTRATE, "")
        rows = (
            (partition, table.committed(partition).get(lane.removeprefix(parked)))
            for partition in sorted(table.partitions_owned())
            for lane in Lanes(self._tables[WAITING].committed(partition))
            if lane.startswith(parked)
        )
        found = (self.saga(row, partition, at) for partition, row in rows if row is not None)
        return nlargest(limit, filter(wanted.is_met_by, found), key=_age)

    def saga(self, row: Row, partition: int, at: datetime | None = None) -> Row:
        """A saga as people see it: what it waits for, what was refused, when it is due next."""
        saga = from_row(row)
        stuck, parked = saga.stuck, self._parked_by(saga.order_id, partition)
        reason = saga.reason if stuck is None else f"{stuck.step} was refused: {stuck.reason}"
        return {
            "order_id": saga.order_id,
            "state": saga.summary if parked is None else PARKED,
            "outcome": saga.outcome,
            "reason": reason if parked is None else parked.standing.history.rpartition("\n")[2],
            "parked_by": None if parked is None else parked.letter_id,
            "order_status": saga.order_status,
            # What was refused is waited for no more: without a person it stays so.
            "stuck_at": None if stuck is None else stuck.step,
            "error": _error(saga, parked),
            "age_s": None if saga.started_at is None else int(((at or now()) - saga.started_at).total_seconds()),
            "next_timer": min(row.get("due", {}).values(), default=None),
            "waiting_for": [{"step": step, "line": line or None} for step, line in sorted(saga.awaited)],
            "attempts": dict(saga.attempts),
            "due": row.get("due", {}),
            "started_at": row["started_at"],
            "version": saga.version,
            "correlation_id": saga.correlation_id,
            "partition": partition,
            "worker": self._worker,
        }

    def _parked_by(self, order_id: str, partition: int) -> Kept | None:
        """The record that the saga's agent could not handle, if there is one: its later messages wait behind it."""
        rows = self._tables[WAITING].committed(partition)
        found = Lanes(rows).first(lane_of(ORCHESTRATE, order_id)) if len(rows) else None
        return None if found is None else found[1]

    def dress(self, name: str, found: Found) -> Row:
        """A row as interface.md section 4 shows it."""
        return {
            "key": found.key,
            "value": found.value,
            "partition": found.partition,
            "changelog_offset": self._tables[name].committed(found.partition).changelog_offset,
            "worker": self._worker,
            "age_ms": self.freshness.age_ms(found.partition),
        }

    def _table(self, name: str) -> Any:
        table = self._tables.get(name)
        if table is None:
            raise NoSuchTable(name)
        if not self._app.ready:
            raise Recovering
        return table

    def _owned(self, table: Any, routing_key: str) -> int:
        partition = partition_of(routing_key.encode(), PARTITIONS)
        if partition not in table.partitions_owned():
            raise NotOurs(partition)
        return partition


def _scan(table: Any, partition: int, prefix: str, after: str | None) -> Iterator[Found]:
    return (Found(key, value, partition) for key, value in table.committed(partition).prefix(prefix, after))


def _age(saga: Row) -> tuple[str, str]:
    return saga["started_at"] or "", saga["order_id"]


def _key(found: Found) -> str:
    return found.key


def _error(saga: OrderSaga, parked: Kept | None) -> str | None:
    """The last that went wrong and is not over: a parked message, a refusal, an answer to be tried again."""
    if parked is not None:
        return parked.standing.history.rpartition("\n")[2]
    stuck, troubles = saga.stuck, saga.troubles
    if stuck is not None:
        return f"{stuck.step}: {stuck.reason}"
    return f"{troubles[-1].step}: {troubles[-1].reason}" if troubles else None
