"""How a process is asked to end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stopped_by_signals() -> Event:
    """An event that SIGTERM and SIGINT set, from now on."""
    stop = Event()
    _listen(stop)
    return stop


@contextmanager
def stopped_by_signals_meanwhile() -> Iterator[Event]:
    """The same for as long as the block runs; the handlers of before are back then."""
    stop = Event()
    before = _listen(stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(stop: Event) -> dict[signal.Signals, Any]:
    """Gives the handlers of before.

    The event is set in a thread of its own: a handler runs in the main thread, between two steps of whatever that does,
    and would wait for ever for the event's lock if just then a wait for the event held it.
    """
    return {
        number: signal.signal(number, lambda *_: Thread(target=stop.set, name="stop").start()) for number in _SIGNALS
    }
