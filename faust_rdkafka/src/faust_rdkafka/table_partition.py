"""One partition of a table: its rows, the log that undoes a batch, and the committed view that this log gives."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from typing import Any

from .stores.absent import ABSENT
from .stores.database import Database
from .stores.memory import MemoryRows
from .stores.rocks_rows import RocksRows


class TablePartition(MutableMapping[Any, Any]):
    """The rows as the running batch sees them.

    The first touch of a key in a batch keeps its old value in `undo`. That makes `undo` three things at once: the set
    of dirty keys, the way back when the batch fails, and the committed values of all that the batch has changed.
    `savepoint` is the same for one record of a batch that is rerun record by record.
    `staged` are rows as the changelog has them, which the commit writes and no batch sees before.
    """

    __slots__ = ("number", "rows", "undo", "savepoint", "changelog_offset", "added", "staged", "_staged_added")

    def __init__(self, number: int, rows: MemoryRows | RocksRows | None = None) -> None:
        self.number = number
        self.rows: Any = MemoryRows() if rows is None else rows
        self.undo: dict[Any, Any] = {}
        self.savepoint: dict[Any, Any] | None = None
        self.changelog_offset = -1
        self.added = 0  # by how many rows `changes` and `staged` differ from the committed ones
        self.staged: list[tuple[bytes, bytes]] = []
        self._staged_added = 0

    @property
    def database(self) -> Database | None:
        """Where committed rows are written to; None in memory."""
        found: Database | None = self.rows.database
        return found

    def _touch(self, key: Any) -> None:
        old = self.rows.get(key, ABSENT)
        if key not in self.undo:
            self.undo[key] = old
        if self.savepoint is not None and key not in self.savepoint:
            self.savepoint[key] = old
        if old is ABSENT:
            self.rows.appeared(key)

    def __getitem__(self, key: Any) -> Any:
        return self.rows[key]

    def get(self, key: Any, default: Any = None) -> Any:
        return self.rows.get(key, default)

    def __setitem__(self, key: Any, value: Any) -> None:
        if value is None:
            raise ValueError(f"a row cannot be None (key {key!r}): in a changelog that means deleted")
        if self.savepoint is not None or key not in self.undo:  # here and not in `_touch`: most rows are set again
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
        count: int = self.rows.count(self.undo)
        return count

    def __repr__(self) -> str:
        return f"<TablePartition {self.number}: {len(self)} rows>"

    def prepare(self, keys: Iterable[Any]) -> None:
        """The running batch will read or write these rows: reads them all at once, where one by one costs more."""
        undo = self.undo
        for key, old in self.rows.prepare(keys).items():
            undo.setdefault(key, old)

    def items(self) -> ItemsView[Any, Any]:
        return _Pairs(self, self.rows.pairs)

    def values(self) -> ValuesView[Any]:
        return _Values(self, self.rows.pairs)

    def prefix(self, text: Any, after: Any = None) -> Iterator[tuple[Any, Any]]:
        """Rows whose key begins with `text`, in key order, from behind the key `after`."""
        return _behind(after, self.scan(*_prefix(text, after)))

    def range(self, first: Any = None, last: Any = None) -> Iterator[tuple[Any, Any]]:
        """Rows from the key `first` to the key `last`, both included, in key order; None: from or to the end."""
        return _behind(None, self.scan(first, _up_to(last)))

    def scan(self, first: Any, within: Callable[[Any], bool]) -> Iterator[tuple[Any, Any]]:
        """(key, row or ABSENT) in key order; every key that the batch has touched is among them."""
        scan: Iterator[tuple[Any, Any]] = self.rows.scan(first, within, self.undo)
        return scan

    # -- what the transport calls

    def fill(self, rows: Mapping[Any, Any], offset: int) -> None:
        """Apply restored changelog records to rows in memory: an absent value (None) deletes."""
        for key, value in rows.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        self.changelog_offset = max(self.changelog_offset, offset)
        self.rows.forget_order()

    def stage(self, pairs: list[tuple[bytes, bytes]], added: int) -> None:
        """For a persistent store: rows of the running batch's transaction, `added` of them new."""
        self.staged += pairs
        self._staged_added += added

    def changes(self) -> list[tuple[Any, Any]]:
        """(key, value) of what differs from the committed rows; a value of None: deleted. `added` is known then."""
        rows = self.rows
        changed = []
        self.added = self._staged_added
        for key, old in self.undo.items():
            new = rows.get(key, ABSENT)
            if new is old:
                continue
            if new is ABSENT:
                self.added -= 1
                changed.append((key, None))
            else:
                if old is ABSENT:
                    self.added += 1
                changed.append((key, new))
        return changed

    def roll_back(self) -> None:
        """Back to the committed rows."""
        self._restore(self.undo)
        self.rows.settle(self.undo)
        self.undo.clear()
        self.savepoint = None
        self._unstage()

    def begin_record(self) -> None:
        self.savepoint = {}

    def end_record(self, keep: bool) -> None:
        if not keep and self.savepoint:
            self._restore(self.savepoint)
        self.savepoint = None

    def begin_part(self) -> dict[Any, Any] | None:
        """A savepoint inside of whatever is open; gives what `end_part` needs."""
        before, self.savepoint = self.savepoint, {}
        return before

    def end_part(self, before: dict[Any, Any] | None, keep: bool) -> None:
        part, self.savepoint = self.savepoint or {}, None
        if not keep:
            self._restore(part)
        elif before is not None:
            # What the part changed is the record's too.
            before.update((key, old) for key, old in part.items() if key not in before)
        self.savepoint = before

    def committed_now(self) -> None:
        self.rows.settle(self.undo)
        self.undo.clear()
        if self.staged:
            self.rows.forget()
            self._unstage()

    def _unstage(self) -> None:
        self.staged, self._staged_added = [], 0

    def close(self) -> None:
        """Let go of the store's files; the rows cannot be read any more if they lie there."""
        self.rows.close()

    def _restore(self, old_by_key: Mapping[Any, Any]) -> None:
        rows = self.rows
        for key, old in old_by_key.items():
            if old is ABSENT:
                rows.pop(key, None)
            else:
                if key not in rows:
                    rows.appeared(key)
                rows[key] = old


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
        return self._of.rows.get(key, ABSENT) if old is self else old

    def __getitem__(self, key: Any) -> Any:
        value = self._find(key)
        if value is ABSENT:
            raise KeyError(key)
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        value = self._find(key)
        return default if value is ABSENT else value

    def __contains__(self, key: object) -> bool:
        return self._find(key) is not ABSENT

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self._pairs())

    def __len__(self) -> int:
        count: int = self._of.rows.count_committed(self._of.undo)
        return count

    def items(self) -> ItemsView[Any, Any]:
        return _Pairs(self, self._pairs)

    def values(self) -> ValuesView[Any]:
        return _Values(self, self._pairs)

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        undo = dict(self._of.undo)
        yield from ((key, row) for key, row in self._of.rows.pairs() if key not in undo)
        yield from ((key, old) for key, old in undo.items() if old is not ABSENT)

    def prefix(self, text: Any, after: Any = None) -> Iterator[tuple[Any, Any]]:
        """Rows whose key begins with `text`, in key order, from behind the key `after`."""
        return _behind(after, self._scan(*_prefix(text, after)))

    def range(self, first: Any = None, last: Any = None) -> Iterator[tuple[Any, Any]]:
        """Rows from the key `first` to the key `last`, both included, in key order; None: from or to the end."""
        return _behind(None, self._scan(first, _up_to(last)))

    def _scan(self, first: Any, within: Callable[[Any], bool]) -> Iterator[tuple[Any, Any]]:
        undo = self._of.undo
        for key, row in self._of.scan(first, within):
            yield key, undo.get(key, row)


class _Pairs(ItemsView[Any, Any]):
    """`items()` in one pass, where the inherited one would look up each key."""

    def __init__(self, of: Mapping[Any, Any], pairs: Callable[[], Iterator[tuple[Any, Any]]]) -> None:
        super().__init__(of)
        self._pairs = pairs

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self._pairs()


class _Values(ValuesView[Any]):
    """`values()` in one pass."""

    def __init__(self, of: Mapping[Any, Any], pairs: Callable[[], Iterator[tuple[Any, Any]]]) -> None:
        super().__init__(of)
        self._pairs = pairs

    def __iter__(self) -> Iterator[Any]:
        return (row for _, row in self._pairs())


def _behind(after: Any, pairs: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """The rows that are there, without the one whose key is `after`."""
    return ((key, row) for key, row in pairs if row is not ABSENT and key != after)


def _prefix(text: Any, after: Any) -> tuple[Any, Callable[[Any], bool]]:
    """Where a scan by prefix begins, and whether it goes on."""
    return text if after is None else max(text, after), lambda key: key.startswith(text)


def _up_to(last: Any) -> Callable[[Any], bool]:
    return (lambda key: True) if last is None else (lambda key: key <= last)
