"""Rows of one partition of a build, as the thread that reads folds them: ahead of the commits of its pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from faust_rdkafka.codecs import Codec

from streams.read_models.history import Row
from streams.rebuilds.folding import Folded

# Rows as the changelog has them: (key, value).
Pairs = list[tuple[bytes, bytes]]
Read = Callable[[list[bytes]], list[bytes | None]]


class Ahead:
    """What `fold` asks of rows. A row comes from the piece under way, else from one of the `pieces_max` before it, which
    may not be committed yet, else from the store by `read`: committed values of keys, None where there is none."""

    def __init__(self, keys: Codec, values: Codec, read: Read, pieces_max: int) -> None:
        self._keys, self._values, self._read = keys, values, read
        self._rows: dict[str, Row | None] = {}
        self._changed: dict[str, Row] = {}
        self._new: set[str] = set()
        self._before: deque[dict[str, Row | None]] = deque(maxlen=pieces_max)
        # What the piece has read, encoded.
        self.read_bytes = 0

    def prepare(self, keys: Iterable[str]) -> None:
        """Reads at once what is not known yet."""
        rows, missing = self._rows, []
        for key in keys:
            if key not in rows:
                for before in self._before:
                    if key in before:
                        rows[key] = before[key]
                        break
                else:
                    missing.append(key)
        if missing:
            loads, encode = self._values.loads, self._keys.dumps
            for key, data in zip(missing, self._read([encode(key) for key in missing]), strict=True):
                rows[key] = None if data is None else loads(data)
                self.read_bytes += 0 if data is None else len(data)

    def get(self, key: str) -> Row | None:
        """The row as folded so far, or None."""
        rows = self._rows
        if key not in rows:
            self.prepare([key])
        return rows[key]

    def __setitem__(self, key: str, row: Row) -> None:
        """Of a key that was read before."""
        changed, rows = self._changed, self._rows
        if key not in changed and rows[key] is None:
            self._new.add(key)
        changed[key] = rows[key] = row

    @property
    def changed(self) -> int:
        """How many rows the piece has changed."""
        return len(self._changed)

    def cut(self, folded: Folded) -> tuple[Pairs, int]:
        """Ends the piece: the rows that it changed, as they are to be committed, and how many of them are new.

        A row that no changelog could hold is a fault, and what was folded into it here is lost.
        """
        encode, dumps, pairs = self._keys.dumps, self._values.dumps, []
        for key, row in self._changed.items():
            try:
                pairs.append((encode(key), dumps(row)))
            except (TypeError, ValueError):
                folded.refuse(key)
                self._new.discard(key)
                del self._rows[key]
        added = len(self._new)
        self._before.appendleft(self._rows)
        self._rows, self._changed, self._new, self.read_bytes = {}, {}, set(), 0
        return pairs, added
