"""Rows in RocksDB behind what MemoryRows offers: what the batch changed, a bounded cache, the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from faust_rdkafka.codecs import Codec

from .absent import ABSENT
from .database import Database

_UNKNOWN: Any = object()


class RocksRows(MutableMapping[Any, Any]):
    """Rows of one partition.

    `_dirty` holds what differs, or may differ, from the database, and what a batch has prepared, until `settle`; it is
    never dropped for space.
    Behind it lie two generations of decoded rows: a row that is read moves to the young one, and when that is full the
    old one goes. This is nearly "least recently used" at the price of a dict look-up, where a read from RocksDB with
    its decoding costs some 7 us. That a key is absent is remembered too.
    """

    __slots__ = ("database", "_keys", "_values", "_dirty", "_young", "_old", "_generation_rows", "_count")

    def __init__(self, database: Database, keys: Codec, values: Codec, cache_rows: int) -> None:
        self.database = database
        self._keys, self._values = keys, values
        self._dirty: dict[Any, Any] = {}
        self._young: dict[Any, Any] = {}
        self._old: dict[Any, Any] = {}
        self._generation_rows = max(cache_rows // 2, 1)
        self._count = database.note.rows

    def _find(self, key: Any) -> Any:
        value = self._dirty.get(key, _UNKNOWN)
        return self._find_clean(key) if value is _UNKNOWN else value

    def _find_clean(self, key: Any) -> Any:
        value = self._young.get(key, _UNKNOWN)
        if value is _UNKNOWN:
            value = self._old.get(key, _UNKNOWN)
            if value is _UNKNOWN:
                data = self.database.get(self._keys.dumps(key))
                value = ABSENT if data is None else self._values.loads(data)
            self._remember(key, value)
        return value

    def _remember(self, key: Any, value: Any) -> None:
        if len(self._young) >= self._generation_rows:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def __getitem__(self, key: Any) -> Any:
        value = self._find(key)
        if value is ABSENT:
            raise KeyError(key)
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        value = self._dirty.get(key, _UNKNOWN)
        if value is _UNKNOWN:
            value = self._find_clean(key)
        return default if value is ABSENT else value

    def __contains__(self, key: object) -> bool:
        return self._find(key) is not ABSENT

    def __setitem__(self, key: Any, value: Any) -> None:
        self._dirty[key] = value

    def __delitem__(self, key: Any) -> None:
        self._dirty[key] = ABSENT

    def pop(self, key: Any, default: Any = None) -> Any:
        value = self.get(key, default)
        self._dirty[key] = ABSENT
        return value

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self.pairs())

    def __len__(self) -> int:
        """Committed rows; what a batch changed is known to `count`."""
        return self._count

    def prepare(self, keys: Iterable[Any]) -> Mapping[Any, Any]:
        """Reads at once what `get` would read one by one, and keeps it like what the batch changed; gives what was read:
        row or ABSENT by key."""
        dirty, young, old, dumps = self._dirty, self._young, self._old, self._keys.dumps
        found: dict[Any, Any] = {}
        missing = []
        for key in keys:
            if key in dirty:
                continue
            value = young.get(key, _UNKNOWN)
            if value is _UNKNOWN:
                value = old.get(key, _UNKNOWN)
            if value is _UNKNOWN:
                missing.append(key)
            else:
                found[key] = value
        if missing:
            loads, data = self._values.loads, self.database.get_many([dumps(key) for key in missing])
            found.update((k, ABSENT if d is None else loads(d)) for k, d in zip(missing, data, strict=True))
        dirty.update(found)
        return found

    def appeared(self, key: Any) -> None:
        """RocksDB keeps its keys in order by itself."""

    def settle(self, keys: Mapping[Any, Any]) -> None:
        """These keys' rows equal the database's now, by a commit or by an undo: they may be forgotten."""
        dirty = self._dirty
        if len(keys) == len(dirty) <= self._generation_rows - len(self._young):
            # The usual case in one step. What the old generation knows of these keys is hidden by the young one.
            self._young.update(dirty)
            dirty.clear()
        else:
            for key in keys:
                value = dirty.pop(key, _UNKNOWN)
                if value is not _UNKNOWN:
                    self._remember(key, value)
        self._count = self.database.note.rows

    def count(self, undo: Mapping[Any, Any]) -> int:
        """Rows as the running batch sees them."""
        return self._count + sum((key in self) - (old is not ABSENT) for key, old in undo.items())

    def count_committed(self, undo: Mapping[Any, Any]) -> int:
        return self._count

    def pairs(self) -> Iterator[tuple[Any, Any]]:
        """(key, row) of all rows as the running batch sees them, in the order of the keys' bytes."""
        return ((key, row) for key, row in self.scan(None, lambda key: True, {}) if row is not ABSENT)

    def scan(self, first: Any, within: Callable[[Any], bool], undo: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
        """(key, row or ABSENT) in key order from `first` on while `within(key)`; keys of `undo` are all among them.

        The database is read as it is at the first step. Rows that are dirty then or later show as they are at their
        step, so an agent sees what it writes while it scans, unless it writes keys that are new.
        """
        keys, values, dirty = self._keys.loads, self._values.loads, self._dirty
        touched = sorted(k for k in dirty if (first is None or k >= first) and within(k))
        at = 0
        for data_key, data in self.database.scan(b"" if first is None else self._keys.dumps(first)):
            key = keys(data_key)
            if not within(key):
                break
            while at < len(touched) and touched[at] < key:
                yield touched[at], self._find(touched[at])
                at += 1
            if at < len(touched) and touched[at] == key:
                at += 1
            row = dirty.get(key, _UNKNOWN)
            yield key, values(data) if row is _UNKNOWN else row
        for key in touched[at:]:
            yield key, self._find(key)

    def forget(self) -> None:
        """The database changed beneath, by a restore."""
        self._dirty.clear()
        self._young.clear()
        self._old.clear()
        self._count = self.database.note.rows

    def cached(self) -> int:
        """Decoded rows in memory that no batch has changed."""
        return len(self._young) + len(self._old)

    def close(self) -> None:
        self.database.close()
