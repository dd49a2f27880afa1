"""Runs an app in the running event loop until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal

from .app import App
from .fatal import EXIT_FATAL

log = logging.getLogger(__name__)


async def run(app: App) -> int:
    """Start the app, stop it in order at SIGTERM or SIGINT; the exit code: 0, or 70 when it crashed."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app.finalize()
    await app.start()
    stopped = loop.create_task(stop.wait())
    crashed = loop.create_task(app.wait_until_stopped())
    try:
        await asyncio.wait({stopped, crashed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        crashed.cancel()
        await app.stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    if app.crashed:
        log.critical("worker ends: %r", app.crash_reason, exc_info=app.crash_reason)
        return EXIT_FATAL
    return 0
