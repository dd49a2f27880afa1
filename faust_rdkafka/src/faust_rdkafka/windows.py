"""Rows of windowed tables: a key and a window make one row, and rows are in the order in which their windows end.

So the windows to expire are the first rows of a partition, in memory and in RocksDB, and there is nothing to rebuild
after a restart.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from .codecs import Codec
from .table_partition import TablePartition

_RANGE = struct.Struct(">dd")  # end, start: seconds since 1970, whose bytes are in order
_EXPIRED_AT_ONCE_MAX = 200  # rows that one write may delete; the next write goes on

WindowedKey = tuple[Any, tuple[float, float]]  # key, (start, end) in seconds


class Windows:
    """The windows of one table: `window` is Faust's, `keys` the codec of the keys without their windows."""

    def __init__(self, window: Any, keys: Codec, closed: Callable[[WindowedKey, Any], object] | None) -> None:
        self._window = window
        self._keys = keys
        self._closed = closed
        self._looked: dict[int, float] = {}  # partition -> the bound of the last look that left nothing behind

    def row_key(self, windowed: WindowedKey) -> bytes:
        key, (start, end) = windowed
        return _RANGE.pack(end, start) + self._keys.dumps(key)

    def windowed_key(self, row_key: bytes) -> WindowedKey:
        end, start = _RANGE.unpack_from(row_key)
        return self._keys.loads(row_key[_RANGE.size :]), (start, end)

    def expire(self, rows: TablePartition, at: float) -> None:
        """Delete the rows of windows that are stale at the event time `at`, in seconds.

        It happens in the running batch, so it is committed or undone with it. Each event expires by its own time and
        leaves no mark: one from a far future whose batch is undone expires nothing after all.
        """
        window = self._window
        if window.expires is None:
            return
        bound = window.current(at - window.expires)[0]
        if self._looked.get(rows.number) == bound:
            return
        stale: list[tuple[bytes, Any]] = []
        for row_key, row in rows.range():
            if len(stale) == _EXPIRED_AT_ONCE_MAX or not window.stale(_RANGE.unpack_from(row_key)[0], at):
                break
            stale.append((row_key, row))
        for row_key, row in stale:
            del rows[row_key]
            if self._closed is not None:
                self._closed(self.windowed_key(row_key), row)
        if len(stale) < _EXPIRED_AT_ONCE_MAX:
            self._looked[rows.number] = bound
