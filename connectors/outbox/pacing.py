"""When a batch is closed and how long the carrier rests after it: small batches while little comes, large ones else."""

from __future__ import annotations

import math

from connectors.outbox.config import Window

# How fast the quickest commit is forgotten, a commit: after some 35 commits it counts for twice as long.
_FORGETS = 1.02
# Over about how many commits what they take is averaged.
_COMMITS = 8


class Pace:
    """Decides by what came, by how old it is and by how long Kafka takes for a commit."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._quickest_s = math.inf
        self._usual_s = 0.0

    def is_quiet(self, rows: int, late_s: float) -> bool:
        """Whether a read of so many rows, the last of them committed `late_s` seconds ago, means that little comes.

        A row that is late already gains nothing by a small batch, and those behind it lose: so a server that is slow
        to send a backlog is waited for while it sends at that pace. (A clock that is behind ours makes every row late,
        which costs at most `age_ms`.)
        """
        window = self._window
        return rows < (window.late_rows if late_s * 1000 > window.age_ms else window.busy_rows)

    def is_old(self, open_s: float) -> bool:
        """Whether a batch that has been open for so many seconds waits no longer."""
        return open_s * 1000 > self._window.age_ms

    def rest_s(self, commit_s: float) -> float:
        """Seconds between a small batch whose commit took `commit_s` and the next.

        Half of what commits take of late while Kafka answers as quickly as it can, and more by as much as it is slower
        than that: a broker that is busy is asked less often, and rows that come meanwhile share the next commit. One
        slow commit means little of that, and the rows that came during it have waited already.
        """
        self._quickest_s = min(commit_s, self._quickest_s * _FORGETS)
        self._usual_s += (commit_s - self._usual_s) / (_COMMITS if self._usual_s else 1)
        slower = self._usual_s / self._quickest_s if self._quickest_s else 1.0
        window = self._window
        return max(min(self._usual_s / 2 * slower, window.age_ms / 1000 - commit_s), window.rest_ms / 1000)
