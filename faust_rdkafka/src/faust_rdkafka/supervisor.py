"""Starts an agent again that raised: at once, for a batch waits for it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from mode import Service
from mode.supervisors import OneForOneSupervisor

log = logging.getLogger(__name__)


class RestartAtOnce(OneForOneSupervisor):
    """Mode's supervisor forgets a wake-up that comes while it restarts another agent, and then sleeps five seconds.

    Restarts are not limited either: each one moves a dead letter on, and without a hook the worker ends at the first.
    """

    def __init__(self, *services: Any, **options: Any) -> None:
        super().__init__(*services, **options)
        self._crashed_one = asyncio.Event()

    def wakeup(self) -> None:
        self._crashed_one.set()

    @Service.task
    async def _supervisor(self) -> None:
        while not self.should_stop:
            await self.wait_for_stopped(self._crashed_one)
            self._crashed_one.clear()
            for service in list(self._services):
                if not self.should_stop and service.crashed:
                    await self.restart_service(service)

    async def restart_service(self, service: Any) -> None:
        index = self._index[service]
        successor = await self.replacement(service, index)
        successor.supervisor = self
        self.insert(index, successor)
        await successor.maybe_start()
