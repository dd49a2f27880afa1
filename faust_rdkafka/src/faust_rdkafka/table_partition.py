"""One partition of a table: its rows, the log that undoes a batch, and the committed view that this log gives."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

_ABSENT: Any = object()


class TablePartition(MutableMapping[Any, Any]):
    """The rows as the running batch sees them.

    The first touch of a key in a batch keeps its old value in `undo`. That makes `undo` three things at once: the set
    of dirty keys, the way back when the batch fails, and the committed values of all that the batch has changed.
    `savepoint` is the same for one record of a batch that is rerun record by record.
    """

    __slots__ = ("number", "rows", "undo", "savepoint", "changelog_offset", "_sorted", "_fresh")

    def __init__(self, number: int) -> None:
        self.number = number
        self.rows: dict[Any, Any] = {}
        self.undo: dict[Any, Any] = {}
        self.savepoint: dict[Any, Any] | None = None
        self.changelog_offset = -1
        # All keys in order, made at the first prefix scan. It may hold keys that are gone: readers look each one up.
        self._sorted: list[Any] | None = None
        self._fresh: list[Any] = []

    def _touch(self, key: Any) -> None:
        old = self.rows.get(key, _ABSENT)
        if key not in self.undo:
            self.undo[key] = old
        if self.savepoint is not None and key not in self.savepoint:
            self.savepoint[key] = old
        if old is _ABSENT and self._sorted is not None:
            self._fresh.append(key)

    def __getitem__(self, key: Any) -> Any:
        return self.rows[key]

    def get(self, key: Any, default: Any = None) -> Any:
        return self.rows.get(key, default)

    def __setitem__(self, key: Any, value: Any) -> None:
        if value is None:
            raise ValueError(f"a row cannot be None (key {key!r}): in a changelog that means deleted")
        self._touch(key)
        self.rows[key] = value

    def __delitem__(self, key: Any) -> None:
        if key not in self.rows:
            raise KeyError(key)
        self._touch(key)
        del self.rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self.rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<TablePartition {self.number}: {len(self.rows)} rows>"

    def prefix(self, text: Any, after: Any = None) -> Iterator[tuple[Any, Any]]:
        """Rows whose key begins with `text`, in key order, from behind the key `after`."""
        rows = self.rows
        for key in self.keys_from(text, after):
            if key in rows:
                yield key, rows[key]

    def keys_from(self, text: Any, after: Any) -> Iterator[Any]:
        """Keys that begin with `text`, in order, gone ones among them."""
        keys = self._ordered()
        at = bisect_left(keys, text) if after is None else max(bisect_left(keys, text), bisect_right(keys, after))
        end = at
        while end < len(keys) and keys[end].startswith(text):
            end += 1
        # A copy: the caller may write between two steps.
        return iter(keys[at:end])

    def _ordered(self) -> list[Any]:
        keys = self._sorted
        if keys is None or len(keys) > 2 * len(self.rows) + 1000:
            keys = self._sorted = sorted({*self.rows, *self.undo})
        else:
            fresh = [k for k in dict.fromkeys(self._fresh) if not _holds(keys, k)]
            if len(fresh) < 32:
                for key in fresh:
                    insort(keys, key)
            else:
                keys.extend(fresh)
                keys.sort()  # two runs in order: linear
        self._fresh.clear()
        return keys

    # -- what the transport calls

    def fill(self, rows: Mapping[Any, Any], offset: int) -> None:
        """Apply restored changelog records: an absent value (None) deletes."""
        for key, value in rows.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        self.changelog_offset = max(self.changelog_offset, offset)
        self._sorted = None
        self._fresh.clear()

    def changes(self) -> list[tuple[Any, Any]]:
        """(key, value) of what differs from the committed rows; a value of None: deleted."""
        rows = self.rows
        changed = []
        for key, old in self.undo.items():
            new = rows.get(key, _ABSENT)
            if new is not old:
                changed.append((key, None if new is _ABSENT else new))
        return changed

    def roll_back(self) -> None:
        """Back to the committed rows."""
        self._restore(self.undo)
        self.undo.clear()
        self.savepoint = None

    def begin_record(self) -> None:
        self.savepoint = {}

    def end_record(self, keep: bool) -> None:
        if not keep and self.savepoint:
            self._restore(self.savepoint)
        self.savepoint = None

    def committed_now(self) -> None:
        self.undo.clear()

    def _restore(self, old_by_key: Mapping[Any, Any]) -> None:
        for key, old in old_by_key.items():
            if old is _ABSENT:
                self.rows.pop(key, None)
            else:
                if self._sorted is not None and key not in self.rows:
                    self._fresh.append(key)
                self.rows[key] = old


class CommittedPartition(Mapping[Any, Any]):
    """The same rows as the last commit left them; a running batch does not show."""

    __slots__ = ("_of",)

    def __init__(self, of: TablePartition) -> None:
        self._of = of

    @property
    def number(self) -> int:
        return self._of.number

    @property
    def changelog_offset(self) -> int:
        """The last committed changelog offset known; -1 when none."""
        return self._of.changelog_offset

    def _find(self, key: Any) -> Any:
        old = self._of.undo.get(key, self)
        return self._of.rows.get(key, _ABSENT) if old is self else old

    def __getitem__(self, key: Any) -> Any:
        value = self._find(key)
        if value is _ABSENT:
            raise KeyError(key)
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        value = self._find(key)
        return default if value is _ABSENT else value

    def __contains__(self, key: object) -> bool:
        return self._find(key) is not _ABSENT

    def __iter__(self) -> Iterator[Any]:
        undo = self._of.undo
        yield from [k for k in self._of.rows if k not in undo]
        yield from [k for k, old in undo.items() if old is not _ABSENT]

    def __len__(self) -> int:
        return sum(1 for _ in self) if self._of.undo else len(self._of.rows)

    def prefix(self, text: Any, after: Any = None) -> Iterator[tuple[Any, Any]]:
        """Rows whose key begins with `text`, in key order, from behind the key `after`."""
        for key in self._of.keys_from(text, after):
            value = self._find(key)
            if value is not _ABSENT:
                yield key, value


def _holds(keys: list[Any], key: Any) -> bool:
    at = bisect_left(keys, key)
    return at < len(keys) and keys[at] == key
