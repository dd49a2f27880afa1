"""Reads of committed rows: one row, a page, the sagas; with where each row stands and how fresh it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any

from faust_rdkafka import partition_of
from schemas.keys import SEPARATOR, is_under, routing_key
from schemas.topics import PARTITIONS
from streams.sagas.state import from_row
from streams.worker.agents import Agents

PAGE_LIMIT_DEFAULT = 100
PAGE_LIMIT_MAX = 1000
# Rows of these tables lie in the partition of something else than their own key.
ROUTED_BY_OTHER = frozenset({"stock_commands"})

Row = dict[str, Any]


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
        if SEPARATOR in prefix:
            partitions = [self._owned(table, routing_key(name, prefix))]
        else:
            partitions = sorted(table.partitions_owned())
        rows = merge(*(_scan(table, p, prefix, after) for p in partitions), key=_key)
        found = list(islice((row for row in rows if is_under(name, prefix, row.key)), limit + 1))
        return found[:limit], found[limit - 1].key if len(found) > limit else None

    def sagas(self, state: str | None, limit: int) -> list[Row]:
        """The newest sagas, of one state where that is asked for."""
        table, found = self._table("order_sagas"), []
        for partition, order_id in self._listed.newest(state, limit):
            row = table.committed(partition).get(order_id)
            if row is not None:
                found.append(self.saga(row, partition))
        return found

    def saga(self, row: Row, partition: int) -> Row:
        """A saga as people see it: what it waits for, what was refused, when it is due next."""
        saga = from_row(row)
        stuck = saga.stuck
        return {
            "order_id": saga.order_id,
            "state": saga.summary,
            "outcome": saga.outcome,
            "reason": saga.reason if stuck is None else f"{stuck.step} was refused: {stuck.reason}",
            "order_status": saga.order_status,
            "waiting_for": [{"step": step, "line": line or None} for step, line in sorted(saga.awaited)],
            "attempts": dict(saga.attempts),
            "due": row.get("due", {}),
            "started_at": row["started_at"],
            "version": saga.version,
            "correlation_id": saga.correlation_id,
            "partition": partition,
            "worker": self._worker,
        }

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


def _key(found: Found) -> str:
    return found.key
