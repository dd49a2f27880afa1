"""One row, wherever it is: a copy that is new enough, else the owner of its partition."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from producers.api.copies import Copies
from producers.api.owners import Owners, OwnersUnknown
from producers.api.problems import bad_request, unavailable
from producers.api.workers import Page, Unanswered, Workers
from schemas.keys import routing_key
from schemas.partitioning import partition_of
from schemas.topics import PARTITIONS

V = TypeVar("V")

# Between two questions while nobody owns the partition or its owner recovers.
PAUSE_S = 0.1
# A read that does not wait still looks for the new owner for this long: a rebalance is no reason to fail.
PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row: its table and key, the version it must have (None: any), how long to wait for that."""

    table: str
    key: str
    version: int | None = None
    wait_s: float = 0.0
    routing_key: str | None = None

    @property
    def partition(self) -> int:
        """Where the row lives: decided by its key, or by the key that its table is routed by."""
        return partition_of((self.routing_key or routing_key(self.table, self.key)).encode(), PARTITIONS)


class Reader:
    """Reads rows of the workers' tables."""

    def __init__(self, owners: Owners, workers: Workers, copies: Copies) -> None:
        self._owners, self._workers, self._copies = owners, workers, copies

    async def value(self, wanted: Wanted) -> dict[str, Any] | None:
        """The row's value, from a copy or its owner; None where its owner has no such key and no version was demanded.

        Raises the problem 503 when no owner answers, or the version is not reached, in time.
        """
        copy = await self._copies.find(wanted.table, wanted.key, wanted.version)
        if copy is not None:
            return copy
        row = await self.row(wanted)
        return None if row is None else row["value"]

    async def row(self, wanted: Wanted) -> dict[str, Any] | None:
        """The row with all that its owner says about it; None where it has none. Raises as `value`."""
        due = time.monotonic() + wanted.wait_s

        async def ask(address: str) -> dict[str, Any] | None:
            left_ms = max(0, round((due - time.monotonic()) * 1000))
            found = await self._workers.get(address, wanted.table, wanted.key, wanted.version, left_ms)
            if found is None and wanted.version is not None:
                raise Unanswered("the row is not there yet")
            return found

        return await self._patiently(wanted.partition, ask, max(wanted.wait_s, PATIENCE_S))

    async def page(self, table: str, routing_key: str, prefix: str, cursor: str | None, limit: int) -> Page | None:
        """A page of the rows under one routing key, from their one owner. Raises as `value`."""

        async def ask(address: str) -> Page | None:
            return await self._workers.scan(address, table, prefix, cursor, limit)

        return await self._patiently(partition_of(routing_key.encode(), PARTITIONS), ask, PATIENCE_S)

    async def history(self, aggregatetype: str, aggregate_id: str, first: int, last: int) -> list[dict[str, Any]]:
        """Rows of `schemas.histories` between two versions, both included, from the one owner. Raises as `value`."""

        async def ask(address: str) -> list[dict[str, Any]]:
            return await self._workers.history(address, (aggregatetype, aggregate_id), first, last)

        return await self._patiently(partition_of(aggregate_id.encode(), PARTITIONS), ask, PATIENCE_S)

    async def page_of_all(self, table: str, prefix: str, cursor: str | None, limit: int) -> Page | None:
        """A page over all workers, one after the other; None for an unknown table. Raises as `value`, and 400."""
        index, inner = _opened(cursor)
        workers = await self._all_workers()
        if index >= len(workers):
            return Page([], None)
        try:
            found = await self._workers.scan(workers[index], table, prefix, inner, limit)
        except Unanswered as error:
            raise unavailable("worker-out-of-reach", str(error)) from error
        if found is None:
            return None
        if found.next is not None:
            return Page(found.items, _closed(index, found.next))
        return Page(found.items, _closed(index + 1, None) if index + 1 < len(workers) else None)

    async def anywhere(self, table: str, key: str) -> dict[str, Any] | None:
        """A row whose partition its key does not tell: every worker is asked. Raises as `value`."""
        asked = [self._workers.get(address, table, key) for address in await self._all_workers()]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, dict):
                return answer
        for answer in answers:
            if isinstance(answer, BaseException):
                if not isinstance(answer, Unanswered):
                    raise answer
                raise unavailable("worker-out-of-reach", str(answer)) from answer
        return None

    async def tables(self) -> Any:
        """What tables the workers keep. Raises as `value`."""
        workers = await self._all_workers()
        try:
            return await self._workers.tables(workers[0])
        except Unanswered as error:
            raise unavailable("worker-out-of-reach", str(error)) from error

    async def sagas(self, asked: dict[str, str], limit: int) -> list[dict[str, Any]]:
        """The newest sagas of all workers, of those that are asked for. Raises as `value`."""
        workers = await self._all_workers()
        try:
            found = await asyncio.gather(*(self._workers.sagas(address, asked) for address in workers))
        except Unanswered as error:
            raise unavailable("worker-out-of-reach", str(error)) from error
        sagas = [saga for some in found for saga in some]
        return sorted(sagas, key=lambda saga: (saga["started_at"] or "", saga["order_id"]), reverse=True)[:limit]

    async def saga(self, order_id: str) -> dict[str, Any] | None:
        """One saga, from the owner of its order; None where there is none. Raises as `value`."""

        async def ask(address: str) -> dict[str, Any] | None:
            return await self._workers.saga(address, order_id)

        return await self._patiently(partition_of(order_id.encode(), PARTITIONS), ask, PATIENCE_S)

    async def _all_workers(self) -> tuple[str, ...]:
        try:
            workers = (await self._owners.find()).workers
        except OwnersUnknown as error:
            raise unavailable("kafka-out-of-reach", str(error)) from error
        if not workers:
            raise unavailable("no-worker", "no worker has joined the group")
        return workers

    async def _patiently(self, partition: int, ask: Callable[[str], Awaitable[V]], within_s: float) -> V:
        """Asks the owner, and its successor, until one answers or the time is over."""
        ends, anew, why = time.monotonic() + within_s, False, "nobody owns the partition"
        while True:
            try:
                owner = (await self._owners.find(anew=anew)).by_partition.get(partition)
                if owner is not None:
                    return await ask(owner)
            except (Unanswered, OwnersUnknown) as error:
                why = str(error)
            if time.monotonic() + PAUSE_S >= ends:
                raise unavailable("not-reached", why)
            anew = True
            await asyncio.sleep(PAUSE_S)


def _closed(index: int, inner: str | None) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([index, inner])).decode()


def _opened(cursor: str | None) -> tuple[int, str | None]:
    if cursor is None:
        return 0, None
    try:
        index, inner = orjson.loads(base64.urlsafe_b64decode(cursor))
    except (binascii.Error, ValueError, TypeError):
        raise bad_request("cursor-wrong", "this is no cursor of ours") from None
    if type(index) is not int or index < 0 or not (inner is None or isinstance(inner, str)):
        raise bad_request("cursor-wrong", "this is no cursor of ours")
    return index, inner
