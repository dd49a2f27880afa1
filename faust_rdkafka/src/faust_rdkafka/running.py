"""Runs an app in the running event loop until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal

from .app import App
from .fatal import EXIT_FATAL

log = logging.getLogger(__name__)

# A batch makes objects by the ten thousand, and tables keep theirs; neither holds cycles. Python's default of a look at
# each 700 new ones walks over them again and again: a quarter of a worker's time (measured).
_GC_DEFAULT = (700, 10, 10)
_GC_THRESHOLDS = (50_000, 20, 50)


async def run(app: App) -> int:
    """Start the app, stop it in order at SIGTERM or SIGINT; the exit code: 0, or 70 when it crashed.

    SIGUSR1 asks for one line about the worker, in the log. Python's garbage collector is told to look less often, unless its thresholds were changed before.
    """
    if gc.get_threshold() == _GC_DEFAULT:
        gc.set_threshold(*_GC_THRESHOLDS)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: log.warning("%s", app.line()))
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
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            loop.remove_signal_handler(number)
    if app.crashed:
        log.critical("worker ends: %r", app.crash_reason, exc_info=app.crash_reason)
        return EXIT_FATAL
    return 0
