"""Notices a batch that kills the process: the first batch after a start is marked on disk while agents have it.

A record that raises is met elsewhere; this is for one that ends the process (out of memory, a crash in compiled code).
The mark counts deaths by the offsets that the batch began at. It is removed when the agents are done, so that a death in
a commit, a fatal error or a stop counts for nothing.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import orjson
from faust.types import TP

log = logging.getLogger(__name__)

# Deaths at one start before its records are run one at a time, each in a transaction of its own: that moves the start
# to the record that kills.
ALONE_AFTER = 2
# Deaths at one start before its first record is set aside: the last ones had it alone.
SET_ASIDE_AFTER = 4


class Probation:
    """One for a process. `over` once a batch came through; then nothing is written any more."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.over = file is None
        self._deaths: dict[str, int] = _read(file) if file is not None else {}

    def deaths(self, starts: dict[TP, int]) -> int:
        """How many processes ended while they had a batch that began at one of these."""
        return max((self._deaths.get(_place(tp, offset), 0) for tp, offset in starts.items()), default=0)

    def begin(self, starts: dict[TP, int], *, alone: bool = False) -> None:
        """Agents get the batch now: what ends the process from here on counts.

        `alone`: one record of a batch that ended processes before; if it does so again, it is found.
        """
        if self._file is None or self.over:
            return
        least = ALONE_AFTER if alone else 0
        places = [_place(tp, offset) for tp, offset in starts.items()]
        counts = {place: max(self._deaths.get(place, 0), least) + 1 for place in places}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # Not synced: a killed process leaves what it wrote, and a machine that lost power proves nothing.
        new = self._file.with_suffix(".new")
        new.write_bytes(orjson.dumps(counts))
        new.replace(self._file)

    def end(self, *, over: bool) -> None:
        """Agents are done with it. `over`: with an ordinary batch, so that the next ones need no mark."""
        if self._file is None or self.over:
            return
        self._file.unlink(missing_ok=True)
        self.over = over


def _place(tp: TP, offset: int) -> str:
    return f"{tp.topic}[{tp.partition}]@{offset}"


def _read(file: Path) -> dict[str, int]:
    try:
        found: Any = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except orjson.JSONDecodeError:
        log.warning("%s is not readable: no deaths are known", file)
        return {}
    log.warning("the last process ended while it had these records in work: %s", found)
    return dict(found)
