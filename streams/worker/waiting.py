"""Readers that wait for a row: woken by the commit that changes it, as many of them as there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any


class Waiters:
    """Waiting readers by table and key."""

    def __init__(self) -> None:
        self._events: dict[str, dict[str, set[asyncio.Event]]] = {}

    def wake(self, table: str, _partition: int, keys: Collection[Any]) -> None:
        """Called after each commit that changed rows of a table."""
        waiting = self._events.get(table)
        if not waiting:
            return
        for key in waiting.keys() & keys:
            for event in waiting[key]:
                event.set()

    async def wait(self, table: str, key: str, is_there: Callable[[], bool], timeout_s: float) -> bool:
        """Whether `is_there` came true in time; looked at again after registering, so that no wake-up is missed."""
        if is_there():
            return True
        event = asyncio.Event()
        waiting = self._events.setdefault(table, {}).setdefault(key, set())
        waiting.add(event)
        try:
            async with asyncio.timeout(timeout_s):
                while not is_there():
                    event.clear()
                    await event.wait()
            return True
        except TimeoutError:
            return is_there()
        finally:
            waiting.discard(event)
            if not waiting:
                self._events[table].pop(key, None)

    @property
    def waiting(self) -> int:
        """How many readers wait now."""
        return sum(len(events) for keys in self._events.values() for events in keys.values())
