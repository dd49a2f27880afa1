"""Faust's table over partitions of rows, in memory or in a persistent store."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import faust
from faust.streams import current_event

from .checksums import Checksum, checksum
from .codecs import BYTES, JSON, STR, Codec
from .errors import Misconfigured
from .stores.database import Database
from .table_partition import CommittedPartition, TablePartition
from .windows import Windows


class Table(faust.Table):
    """A key belongs to the partition of the event that touches it.

    Values are immutable or replaced as a whole: what is changed in place cannot be undone.
    A table of a `version` above 1 is a table of its own, `<name>-v<version>`, with its own changelog and directory:
    so a rebuild stands beside the table that it will replace.
    """

    Database = Database  # what opens a partition's persistent store
    _REFUSED: tuple[str, ...] = ("window", "is_global", "use_partitioner")

    def __init__(
        self,
        app: Any,
        *,
        name: str,
        version: int = 1,
        key_codec: Codec = STR,
        value_codec: Codec = JSON,
        **options: Any,
    ) -> None:
        if version < 1:
            raise Misconfigured(f"table {name!r}: version {version} is below 1")
        for setting in self._REFUSED:
            if options.get(setting):
                raise Misconfigured(f"table {name!r}: {setting} is not supported by rdkafka://")
        super().__init__(app, name=name if version == 1 else f"{name}-v{version}", **options)
        self.version = version
        self.key_codec = key_codec
        self.value_codec = value_codec
        self._partitions: dict[int, TablePartition] = {}
        self._committed: dict[int, CommittedPartition] = {}
        self._windows: Windows | None = None

    def using_window(self, window: Any, *, key_index: bool = False) -> Any:
        """Rows by key and window. Stale ones are deleted, and `on_window_close` called, by the time of events."""
        if inspect.iscoroutinefunction(self._on_window_close):
            raise Misconfigured(
                f"table {self.name!r}: on_window_close runs inside of a batch and cannot be a coroutine"
            )
        keys = self.key_codec
        self.window = window
        self._windows = Windows(window, keys, self._on_window_close)
        self.key_codec = BYTES
        index = None
        if key_index:
            index = type(self)(self.app, name=f"{self.name}-key_index", key_codec=keys, partitions=self.partitions)
            self.app.tables.add(index)
        return self.WindowWrapper(self, key_index=key_index, key_index_table=index)

    @property
    def changelog_topic_name(self) -> str:
        return f"{self.app.conf.id}-{self.name}-changelog"

    async def on_start(self) -> None:
        """Nothing of Faust's: the changelog is declared with the subscription, rows come by the restore."""

    # -- by partition

    def partition(self, number: int) -> TablePartition:
        """The rows of an owned partition, as the running batch sees them; KeyError when it is not owned."""
        return self._partitions[number]

    def committed(self, number: int) -> CommittedPartition:
        """The same rows without what is not committed yet; KeyError when the partition is not owned."""
        return self._committed[number]

    def partitions_owned(self) -> set[int]:
        return set(self._committed)

    def read(self, key: Any, latest: bool = False, partition: int | None = None) -> Any:
        """A row or None, from committed state unless `latest`; without a partition all owned ones are asked."""
        views: Any = self._partitions if latest else self._committed
        if partition is not None:
            return views[partition].get(key)
        for view in views.values():
            row = view.get(key)
            if row is not None:
                return row
        return None

    def snapshot(self, number: int) -> Iterator[tuple[Any, Any]]:
        """(key, row) of an owned partition's committed rows as they are now, in no particular order; KeyError when the
        partition is not owned. It may be read in another thread, while batches run; one that is not read to its end
        holds the store's directory open until it is let go."""
        database = self._partitions[number].database
        if database is None:
            return iter(list(self._committed[number].items()))
        keys, values = self.key_codec.loads, self.value_codec.loads
        _, pairs = database.scan_with_note()
        return ((keys(key), values(row)) for key, row in pairs)

    def snapshot_bytes(self, number: int) -> Iterator[tuple[bytes, bytes]]:
        """The same as the changelog has them, in the order of the keys' bytes."""
        database = self._partitions[number].database
        if database is not None:
            return database.scan_with_note()[1]
        keys, values = self.key_codec.dumps, self.value_codec.dumps
        return iter(sorted((keys(key), values(row)) for key, row in self._committed[number].items()))

    def committed_bytes(self, number: int, keys: list[bytes]) -> list[bytes | None]:
        """Committed rows as the changelog has them, None where there is none; KeyError when the partition is not owned.
        May be called in another thread."""
        database = self._partitions[number].database
        if database is not None:
            return database.get_many(keys)
        rows, loads, dumps = self._committed[number], self.key_codec.loads, self.value_codec.dumps
        found = [rows.get(loads(key)) for key in keys]
        return [None if row is None else dumps(row) for row in found]

    def stage(self, number: int, pairs: list[tuple[bytes, bytes]], added: int) -> None:
        """Rows as the changelog has them, `added` of them new, for the running batch's transaction: a fifth of the time
        that setting them takes. In a store they are seen once it has committed, so the batch touches none of them."""
        partition = self._partitions[number]
        if partition.database is not None:
            partition.stage(pairs, added)
            return
        keys, values = self.key_codec.loads, self.value_codec.loads
        for key, value in pairs:
            partition[keys(key)] = values(value)

    async def checksum(self, number: int) -> Checksum:
        """Of an owned partition's committed rows, in a thread of its own; KeyError when the partition is not owned."""
        view, partition = self._committed[number], self._partitions[number]
        database = partition.database
        pairs: Iterable[tuple[bytes, bytes]]
        if database is not None:
            note, pairs = database.scan_with_note()
            offset = note.offset
        else:
            rows, offset = list(view.items()), view.changelog_offset
            keys, values = self.key_codec.dumps, self.value_codec.dumps
            pairs = ((keys(key), values(row)) for key, row in rows)
        return await asyncio.get_running_loop().run_in_executor(None, checksum, pairs, offset)

    # -- Faust's dictionary

    def _here(self) -> TablePartition | None:
        event = current_event()
        return None if event is None else self._partitions[event.message.partition]

    def _writable(self) -> TablePartition:
        partition = self._here()
        if partition is None:
            raise TypeError("Cannot modify table key from outside of stream iteration")
        return partition

    def _holding(self, key: Any) -> Any:
        partition = self._here()
        if partition is not None:
            return partition
        # Outside of a stream nobody may see what could still be undone.
        for view in self._committed.values():
            if key in view:
                return view
        return {}

    def _views(self) -> Iterator[Any]:
        partition = self._here()
        if partition is not None:
            yield partition
        else:
            yield from list(self._committed.values())

    def _row_key(self, key: Any) -> Any:
        return key if self._windows is None else self._windows.row_key(key)

    def __getitem__(self, key: Any) -> Any:
        row = self.get(key)
        return self.__missing__(key) if row is None else row

    def get(self, key: Any, default: Any = None) -> Any:
        row_key = self._row_key(key)
        return self._holding(row_key).get(row_key, default)

    def __setitem__(self, key: Any, value: Any) -> None:
        partition = self._writable()
        if self._windows is None:
            partition[key] = value
            return
        partition[self._windows.row_key(key)] = value
        number, end = partition.number, key[1][1]
        self._partition_latest_timestamp[number] = max(self._partition_latest_timestamp[number], end)
        self._windows.expire(partition, current_event().message.timestamp)

    def __delitem__(self, key: Any) -> None:
        del self._writable()[self._row_key(key)]

    def pop(self, key: Any, *default: Any) -> Any:
        return self._writable().pop(self._row_key(key), *default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **named: Any) -> None:
        for key, value in dict(*args, **named).items():
            self[key] = value

    def clear(self) -> None:
        self._writable().clear()

    def __contains__(self, key: object) -> bool:
        row_key = self._row_key(key)
        return row_key in self._holding(row_key)

    def __len__(self) -> int:
        return sum(len(view) for view in self._views())

    def __iter__(self) -> Iterator[Any]:
        windows = self._windows
        for view in self._views():
            yield from view if windows is None else map(windows.windowed_key, view)

    def keys(self) -> Any:
        return list(self)

    def values(self) -> Any:
        return [row for view in self._views() for row in view.values()]

    def items(self, *args: Any, **named: Any) -> Any:
        return list(zip(self, self.values(), strict=True))

    # -- what the transport calls

    def owned(self) -> dict[int, TablePartition]:
        return self._partitions

    def adopt(self, number: int) -> TablePartition:
        """The partition to restore into, its store opened; readers do not see it before `publish`. Blocks on files."""
        partition = self._partitions.get(number)
        if partition is None:
            partition = self._partitions[number] = TablePartition(number, self.app.tables.stores.open(self, number))
            if partition.database is not None:
                partition.changelog_offset = partition.database.note.offset
        return partition

    def publish(self, number: int) -> None:
        self._committed[number] = CommittedPartition(self._partitions[number])

    async def follow_others(self, owned: set[int]) -> bool:
        """Whether the rows of partitions that others own are there: only global tables want them."""
        return True

    def hide(self) -> None:
        """No partition can be queried until it is restored again."""
        self._committed.clear()

    def drop(self, number: int) -> None:
        self._committed.pop(number, None)
        partition = self._partitions.pop(number, None)
        if partition is not None:
            partition.close()

    async def on_stop(self) -> None:
        """Committed rows are in the store already; only its files are let go."""
        for number in list(self._partitions):
            self.drop(number)
