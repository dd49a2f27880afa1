"""Says in the log when the connector gives no sign, and where it stands: no wait is a silent one, whatever it is for.

A thread of its own that asks nobody, so that nothing which keeps the connector waiting can keep it waiting too.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Self

import structlog

from connectors.outbox.lookout import Lookout
from connectors.outbox.metrics import Metrics

_log = structlog.get_logger()

# Longer than the longest rest between two tries.
AFTER_S = 10.0
_LOOKS_PER_WAIT = 4
_FRAMES = 5


class Standstill(Lookout):
    """Watches the thread that enters it by `metrics.beat_s`, and itself: a process that was stopped is told apart."""

    def __init__(self, metrics: Metrics, after_s: float = AFTER_S) -> None:
        super().__init__("standstill", after_s / _LOOKS_PER_WAIT)
        self._metrics, self._after_s = metrics, after_s
        self._told_s = self._looked_s = 0.0

    def __enter__(self) -> Self:
        self._metrics.beat()
        self._watched, self._looked_s = threading.get_ident(), time.monotonic()
        return super().__enter__()

    def _look(self) -> None:
        now = time.monotonic()
        late_s, self._looked_s = now - self._looked_s - self._every_s, now
        if late_s > self._after_s:
            _log.warning("the whole process stood still", for_s=round(late_s, 1))
        else:
            self._mind_the_beat(now)

    def _mind_the_beat(self, now: float) -> None:
        beat_s = self._metrics.beat_s
        if beat_s == self._told_s:
            return
        if self._told_s:
            _log.warning("goes on", after_s=round(beat_s - self._told_s, 1))
            self._told_s = 0.0
        if now - beat_s > self._after_s:
            self._told_s = beat_s
            _log.warning(
                "stands still", for_s=round(now - beat_s, 1), state=self._metrics.state, at=where(self._watched)
            )


def where(thread: int) -> str:
    """The innermost calls of a thread, the last one first."""
    frame = sys._current_frames().get(thread)
    calls = traceback.extract_stack(frame)[-_FRAMES:] if frame is not None else []
    return " < ".join(f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in reversed(calls))
