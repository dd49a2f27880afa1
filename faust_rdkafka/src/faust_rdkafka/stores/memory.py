"""Rows in memory: a dict, with the keys in order from the first ordered scan on."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .absent import ABSENT

_INSERTED_ONE_BY_ONE_MAX = 32  # more new keys than this are sorted in at once
_GONE_MAX = 1000  # keys in the order that are gone, beside as many as there are rows


class MemoryRows(dict[Any, Any]):
    """A dict whose own methods stay as they are: the hot path costs what a dict costs."""

    __slots__ = ("_sorted", "_fresh")

    database = None  # nothing is written after a commit

    def __init__(self) -> None:
        super().__init__()
        # All keys in order, made at the first scan. It may hold keys that are gone: readers look each one up.
        self._sorted: list[Any] | None = None
        self._fresh: list[Any] = []

    def prepare(self, keys: Iterable[Any]) -> Mapping[Any, Any]:
        """Nothing is to be read beforehand."""
        return {}

    def appeared(self, key: Any) -> None:
        """A key that was not there is about to be set."""
        if self._sorted is not None:
            self._fresh.append(key)

    def settle(self, keys: Mapping[Any, Any]) -> None:
        """These keys' rows are the committed ones again; nothing to do in memory."""

    def count(self, undo: Mapping[Any, Any]) -> int:
        """Rows as the running batch sees them."""
        return len(self)

    def count_committed(self, undo: Mapping[Any, Any]) -> int:
        return len(self) - sum((key in self) - (old is not ABSENT) for key, old in undo.items())

    def pairs(self) -> Iterator[tuple[Any, Any]]:
        """(key, row) of all rows in no particular order, as they are now."""
        return iter(list(self.items()))

    def scan(self, first: Any, within: Callable[[Any], bool], undo: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
        """(key, row or ABSENT) in key order from `first` on while `within(key)`; keys of `undo` are all among them."""
        keys = self._ordered(undo)
        at = 0 if first is None else bisect_left(keys, first)
        end = at
        while end < len(keys) and within(keys[end]):
            end += 1
        # A copy: the caller may write between two steps.
        for key in keys[at:end]:
            yield key, self.get(key, ABSENT)

    def forget_order(self) -> None:
        """Rows came without `appeared`: the next scan sorts anew."""
        self._sorted = None
        self._fresh.clear()

    def close(self) -> None:
        """Nothing is open."""

    def _ordered(self, undo: Mapping[Any, Any]) -> list[Any]:
        keys = self._sorted
        if keys is None or len(keys) > 2 * len(self) + _GONE_MAX:
            keys = self._sorted = sorted({*self, *undo})
        else:
            fresh = [key for key in dict.fromkeys(self._fresh) if not _holds(keys, key)]
            if len(fresh) < _INSERTED_ONE_BY_ONE_MAX:
                for key in fresh:
                    insort(keys, key)
            else:
                keys.extend(fresh)
                keys.sort()  # two runs in order: linear
        self._fresh.clear()
        return keys


def _holds(keys: list[Any], key: Any) -> bool:
    at = bisect_left(keys, key)
    return at < len(keys) and keys[at] == key
