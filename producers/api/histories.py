"""Histories of aggregates: from Kafka by the workers' index, with the tail that the index lacks from the outbox."""

from __future__ import annotations

import asyncio

from fastapi_problem.error import Problem

from producers.api.moments import Past
from producers.api.problems import unavailable
from producers.api.reading import Reader, Wanted
from producers.errors import HistoryBroken
from producers.orders.service import OrderService
from schemas.codec import Codec
from schemas.envelope import Message
from schemas.histories import events_of

# The table that tells the newest version of an aggregate that no database gates.
TABLE_BY_TYPE = {"inventory": "stock", "sagas": "order_sagas"}
# Between two looks at an index that is a moment behind.
PAUSE_S = 0.05
# How long a history waits for an index that lacks what nobody else has.
BEHIND_WAIT_S = 1.0


class Histories:
    """Every read begins with the version that it must end at, so neither gap nor repeat can show at the seam."""

    def __init__(self, reader: Reader, orders: OrderService, codec: Codec) -> None:
        self._reader, self._orders, self._codec = reader, orders, codec

    async def of_order(self, order_id: str, from_version: int = 1) -> list[Message]:
        """All events of an order; empty for an unknown one.

        1. The head says where the history ends. 2. The index gives what it has, dense from the start.
        3. The outbox gives the rest up to the head, or all of it while no worker answers. It holds what was recorded
        lately; older rows are cleaned up once Kafka has them. Where it lacks what the index does not have yet (a worker
        has just taken over and reads on), the index is asked again: raises the problem 503 when it is not there in time.
        """
        head = await asyncio.to_thread(self._orders.version, order_id)
        if head < from_version:
            return []
        events: list[Message] = []
        clock = asyncio.get_running_loop().time
        until = clock() + BEHIND_WAIT_S
        while True:
            try:
                events += await self._indexed("orders", order_id, from_version + len(events), head)
            except Problem:
                # Nobody owns the partition just now.
                pass
            next_version = from_version + len(events)
            if next_version > head:
                return events
            try:
                return events + await asyncio.to_thread(self._orders.tail, order_id, next_version, head)
            except HistoryBroken:
                if clock() >= until:
                    break
            await asyncio.sleep(PAUSE_S)
        raise _behind(f"orders/{order_id}: {len(events)} of {head} events are indexed, and the outbox lacks some")

    async def of_single_writer(self, aggregatetype: str, aggregate_id: str, wait_s: float) -> list[Message]:
        """All events of a SKU or a saga, to the version that its table shows; empty for an unknown one.

        Raises the problem 503 when the index does not reach that version in time.
        """
        row = await self._reader.row(Wanted(TABLE_BY_TYPE[aggregatetype], aggregate_id))
        if row is None:
            return []
        head = int(row["value"]["version"])
        return await self._once_indexed(aggregatetype, aggregate_id, 1, head, wait_s)

    async def last_of_single_writer(self, aggregatetype: str, aggregate_id: str, past: Past) -> Message | None:
        """The last event of a SKU or a saga by then; None where there was none, or no such version yet.

        Record times never go back within an aggregate, so the moment is found by halving: a hot SKU's 100,000 events
        cost 17 looks. The index may be a moment behind the row: raises the problem 503 when it stays behind.
        """
        row = await self._reader.row(Wanted(TABLE_BY_TYPE[aggregatetype], aggregate_id))
        head = 0 if row is None else int(row["value"]["version"])
        if past.version is not None:
            return await self._one(aggregatetype, aggregate_id, past.version) if past.version <= head else None
        found, low, high = None, 0, head
        while low < high:
            middle = (low + high + 1) // 2
            event = await self._one(aggregatetype, aggregate_id, middle)
            if past.holds(event):
                found, low = event, middle
            else:
                high = middle - 1
        return found

    async def _one(self, aggregatetype: str, aggregate_id: str, version: int) -> Message:
        (event,) = await self._once_indexed(aggregatetype, aggregate_id, version, version, BEHIND_WAIT_S)
        return event

    async def _once_indexed(
        self, aggregatetype: str, aggregate_id: str, first: int, last: int, wait_s: float
    ) -> list[Message]:
        """What the index has from `first` to `last`, all of it. Raises the problem 503 when it is not there in time."""
        events: list[Message] = []
        clock = asyncio.get_running_loop().time
        until = clock() + wait_s
        while True:
            events += await self._indexed(aggregatetype, aggregate_id, first + len(events), last)
            next_version = first + len(events)
            if next_version > last:
                return events
            if clock() >= until:
                what = f"{len(events)} of {last - first + 1} events are indexed, version {next_version} is not yet"
                raise _behind(f"{aggregatetype}/{aggregate_id}: {what}")
            await asyncio.sleep(PAUSE_S)

    async def _indexed(self, aggregatetype: str, aggregate_id: str, first: int, last: int) -> list[Message]:
        """What the index has from `first` on without a gap. Raises the problem 503, and DamagedRecord."""
        rows = await self._reader.history(aggregatetype, aggregate_id, first, last)
        return events_of(rows, (aggregatetype, aggregate_id), first, self._codec)


def _behind(what: str) -> Problem:
    # A gap in the topic, or a record without a version, looks the same from here.
    return unavailable("history-behind", f"{what}; if it stays so, `tally fsck` tells why")
