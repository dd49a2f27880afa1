"""Apps of the transport in the test's own loop, and what to wait for in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from faust_rdkafka import App


def make_app(broker: Any, **options: Any) -> App:
    """An app with a name of its own, as the first and only worker."""
    return App(broker.name("app"), broker=broker.url, instance="0", web_enabled=False, **options)


async def eventually(condition: Callable[[], Any], within_s: float = 60.0) -> Any:
    """The first true answer; for what other threads or the broker bring about."""
    async with asyncio.timeout(within_s):
        while not (answer := condition()):  # noqa: ASYNC110  nothing here signals
            await asyncio.sleep(0.01)
        return answer
