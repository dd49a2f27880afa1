"""How a process is asked to end."""

from __future__ import annotations

import signal
from threading import Event, Thread


def stopped_by_signals() -> Event:
    """An event that SIGTERM and SIGINT set.

    Set in a thread of its own: a handler runs in the main thread, between two steps of whatever that does, and would wait
    for ever for the event's lock if just then a wait for the event held it.
    """
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: Thread(target=stop.set, name="stop").start())
    return stop
