"""Plays the acts: in their order, with a bound on orders in flight, first as fast as it goes and then at a steady rate."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from tally.demo.ledger import Ledger
from tally.demo.plan import Act, AdjustAct, Adjustment, CancelAct, Lines, OrderAct, ReturnAct
from tally.demo.shop import Counter

# The latency that is promised is promised at this rate, of a system that has done its first work: the last orders
# come at it, half of them at most.
STEADY_RATE = 20.0
STEADY_ORDERS_MAX = 200
# What is in flight queues somewhere; so many keep every process busy without a minute's queue.
IN_FLIGHT_MAX = 32
SIDE_ACTS_MAX = 32
# A confirmed order leaves the house when so many more invoices were played.
SHIPPED_AFTER_INVOICES = 150
# An order ends within 60 s, by promise; this long it is waited for before it is called stuck.
ENDED_WITHIN_S = 90.0
STEADY, FLOOD = "at 20 orders/s", "as fast as it goes"


@dataclass(slots=True)
class Pace:
    """How fast `total` orders come: at `rate` all of them, or without a limit first and steadily at the end."""

    rate: float | None
    total: int
    _next_at_s: float = 0.0
    _orders: int = 0

    @property
    def turns_steady(self) -> bool:
        """Whether the next order is the first of the steady ones; what is in flight should have landed before."""
        return self.rate is None and self._orders == self._flood

    @property
    def _flood(self) -> int:
        return self.total - min(STEADY_ORDERS_MAX, self.total // 2)

    async def next(self) -> str:
        """Waits for the next order's moment; the name of the phase that it belongs to."""
        self._orders += 1
        steady = self.rate is None and self._orders > self._flood
        rate = STEADY_RATE if steady else self.rate
        if rate is not None:
            now_s = time.monotonic()
            # A moment that was missed is not made up for: a burst would be another rate.
            self._next_at_s = max(self._next_at_s + 1 / rate, now_s)
            if self._next_at_s > now_s:
                await asyncio.sleep(self._next_at_s - now_s)
        if self.rate is not None:
            return f"at {self.rate:g} orders/s"
        return STEADY if steady else FLOOD


@dataclass(slots=True)
class Player:
    """Plays acts into a shop; `progress` counts them for the live line, `tell` says what is worth a line."""

    shop: Counter
    ledger: Ledger
    pace: Pace
    tell: Callable[[str], None]
    progress: int = 0
    _in_flight: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT_MAX))
    _side: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SIDE_ACTS_MAX))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _answered: dict[str, asyncio.Event] = field(default_factory=dict)
    _to_ship: deque[tuple[int, str]] = field(default_factory=deque)

    async def play(self, acts: Sequence[Act]) -> None:
        """All acts, and what follows from them; ends when every order has ended or was waited for long enough."""
        for act in acts:
            match act:
                case OrderAct():
                    if self.pace.turns_steady:
                        await self._land()
                    phase = await self.pace.next()
                    await self._in_flight.acquire()
                    self._answered[act.number] = asyncio.Event()
                    self._start(self._order(act, phase))
                    if act.ships:
                        self._to_ship.append((self.progress + SHIPPED_AFTER_INVOICES, act.number))
                case CancelAct():
                    await self._side.acquire()
                    self._start(self._cancel(act))
                case ReturnAct():
                    await self._side.acquire()
                    self._start(self._return(act))
                case AdjustAct():
                    await self._side.acquire()
                    self._start(self._adjust(act.number, act.adjustments, self._side))
                case _:
                    self.ledger.counts["accounting invoices left out"] += 1
            self.progress += 1
            await self._ship_due(self.progress)
        await self._ship_due(self.progress + SHIPPED_AFTER_INVOICES)
        while self._tasks:
            done, _ = await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        await self._settle()

    async def _land(self) -> None:
        """Until no order is in flight."""
        for _ in range(IN_FLIGHT_MAX):
            await self._in_flight.acquire()
        for _ in range(IN_FLIGHT_MAX):
            self._in_flight.release()

    def _start(self, act: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _order(self, act: OrderAct, phase: str) -> None:
        posted_at_s = time.monotonic()
        try:
            answer = await self.shop.place(act)
            if answer.status != 201:
                self._trouble(f"POST of invoice {act.number} was answered {answer.status}: {answer.body}")
                return
            order_id = answer.body["order_id"]
            self.ledger.placed(act.number, order_id)
            self._answered[act.number].set()
            for _ in range(act.posts - 1):
                await self._post_again(act, order_id)
            seen = self.ledger.order(order_id)
            try:
                await asyncio.wait_for(seen.ended.wait(), ENDED_WITHIN_S)
            except TimeoutError:
                self._trouble(f"order {order_id} did not end within {ENDED_WITHIN_S:.0f} s")
                return
            if seen.confirmed_at_s is not None and seen.confirmed_at_s > posted_at_s:
                self.ledger.latencies_s.setdefault(phase, []).append(seen.confirmed_at_s - posted_at_s)
            self._tell_first(act, order_id, posted_at_s)
        finally:
            self._answered[act.number].set()
            self._in_flight.release()

    async def _post_again(self, act: OrderAct, order_id: str) -> None:
        again = await self.shop.place(act)
        if again.status == 201 and again.body.get("order_id") == order_id:
            self.ledger.counts["duplicates dropped"] += 1
        else:
            self._trouble(f"the same POST of invoice {act.number} again was answered {again.status}: {again.body}")

    async def _adjust(self, number: str, adjustments: Sequence[Adjustment], slot: asyncio.Semaphore | None) -> None:
        try:
            for index, adjustment in enumerate(adjustments):
                answer = await self.shop.adjust(f"online-retail/{number}/{index}", adjustment)
                if answer.status in (200, 202):
                    self.ledger.counts["adjustments"] += 1
                elif answer.status == 409:
                    # A write-off of more than is there: refused, as nothing goes below zero.
                    self.ledger.counts["adjustments refused"] += 1
                else:
                    self._trouble(f"adjustment of {adjustment.sku} was answered {answer.status}: {answer.body}")
        finally:
            if slot is not None:
                slot.release()

    async def _cancel(self, act: CancelAct) -> None:
        """Cancels the order, or takes its lines back when they have left; a rejected order has nothing to undo."""
        try:
            await self._answered[act.order_number].wait()
            order_id = self.ledger.order_by_invoice.get(act.order_number)
            if order_id is None:
                return
            if order_id not in self.ledger.ship_asked:
                answer = await self.shop.cancel(order_id)
                if answer.status == 202:
                    self.ledger.cancel_asked.add(order_id)
                    self.ledger.counts["orders cancelled"] += 1
                    return
                if answer.status != 409:
                    self._trouble(f"cancelling {order_id} was answered {answer.status}: {answer.body}")
                    return
                self.ledger.counts["cancellations of rejected orders"] += 1
                return
            self.ledger.counts["cancellations after shipping"] += 1
            if await self._leave(order_id):
                await self._take_back(act.number, order_id, act.lines)
        finally:
            self._side.release()

    async def _return(self, act: ReturnAct) -> None:
        """Takes lines back, once the goods have left; a rejected order has nothing to give back."""
        try:
            await self._adjust(act.number, act.rest, None)
            order_id = await self._ended(act.order_number)
            if order_id is None or not act.lines:
                return
            if self.ledger.order(order_id).status == "REJECTED":
                self.ledger.counts["returns of rejected orders"] += 1
                return
            # Sent under one key, whoever comes first: the goods leave once.
            if await self._leave(order_id):
                await self._take_back(act.number, order_id, act.lines)
        finally:
            self._side.release()

    async def _take_back(self, number: str, order_id: str, lines: Lines) -> None:
        answer = await self.shop.take_back(f"return/{number}", order_id, lines)
        if answer.status == 202:
            self.ledger.counts["returns"] += 1
        else:
            self._trouble(f"the return of invoice {number} was answered {answer.status}: {answer.body}")

    async def _ended(self, number: str) -> str | None:
        """The id of an invoice's order once it has ended; None where there is none, or it does not end."""
        await self._answered[number].wait()
        order_id = self.ledger.order_by_invoice.get(number)
        if order_id is None:
            return None
        try:
            await asyncio.wait_for(self.ledger.order(order_id).ended.wait(), ENDED_WITHIN_S)
        except TimeoutError:
            return None  # named already, where the order was placed
        return order_id

    async def _ship_due(self, upto: int) -> None:
        while self._to_ship and self._to_ship[0][0] <= upto:
            _, number = self._to_ship.popleft()
            await self._side.acquire()
            self._start(self._ship(number))

    async def _ship(self, number: str) -> None:
        try:
            order_id = await self._ended(number)
            if order_id is None:
                return
            if self.ledger.order(order_id).status != "CONFIRMED" or order_id in self.ledger.cancel_asked:
                return
            await self._leave(order_id)
        finally:
            self._side.release()

    async def _leave(self, order_id: str) -> bool:
        """Whether a confirmed order has left the house."""
        self.ledger.ship_asked.add(order_id)
        answer = await self.shop.ship(order_id)
        if answer.status == 202:
            return True
        self.ledger.ship_asked.discard(order_id)
        if answer.status != 409:
            self._trouble(f"shipping {order_id} was answered {answer.status}: {answer.body}")
        return False

    async def _settle(self) -> None:
        """Waits for what was asked of orders that had ended: to ship, to be cancelled."""
        deadline = time.monotonic() + ENDED_WITHIN_S
        while (open_orders := self.ledger.unsettled()) and time.monotonic() < deadline:
            self.ledger.changed.clear()
            try:
                await asyncio.wait_for(self.ledger.changed.wait(), 1.0)
            except TimeoutError:
                continue
        for order_id in open_orders:
            self._trouble(f"order {order_id} is still {self.ledger.order(order_id).status}")

    def _tell_first(self, act: OrderAct, order_id: str, posted_at_s: float) -> None:
        """A line for the first order of each kind of end."""
        seen = self.ledger.order(order_id)
        ended = f"{seen.status} {seen.reason}" if seen.reason else seen.status
        if not self.ledger.counts[f"told {ended}"]:
            self.ledger.counts[f"told {ended}"] += 1
            took_ms = (time.monotonic() - posted_at_s) * 1_000
            self.tell(
                f"invoice {act.number} ({len(act.lines)} lines) -> order {order_id}: {ended} after {took_ms:.0f} ms"
            )

    def _trouble(self, line: str) -> None:
        self.ledger.troubles.append(line)
        self.tell(line)
