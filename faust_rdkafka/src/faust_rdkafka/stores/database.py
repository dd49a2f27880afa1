"""One RocksDB directory: one partition of one table, with a lock, and wiped when it cannot be read.

Rows and the note of their changelog offset are written in one WriteBatch, so whatever a crash leaves is the state of
the table at the offset that it names. The write-ahead log is not synced: after kill -9 the kernel still has it, and
after a power cut the store is an older one, whose tail is longer.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from faust_rdkafka.errors import Misconfigured, StoreFailed

from .note import Note, now_ms, unpacked

try:
    import rocksdict
except ImportError:  # the extra "rocksdb" is not installed: `require` says so to whoever wants the store
    rocksdict = None

log = logging.getLogger(__name__)

_ROW = b"r"  # before each row's key
_NOTE = b"n"
_BLOCK_CACHE_BYTES = 32 << 20  # of all databases of the process together
_WRITE_BUFFERS_BYTES = 64 << 20  # of all together
_WRITE_BUFFER_BYTES = 16 << 20
_OPEN_FILES_MAX = 64  # of one database
_LOG_BYTES_MAX = 1 << 20
_BLOOM_BITS = 10  # 1 % of the looks for an absent key reach the disk
_MEMORY_BLOOM_RATIO = 0.05  # of a write buffer: an absent key is found to be in none for a quarter of the time
_OPEN_WITHIN_S = 10.0  # for a reader of ours, or a predecessor of this process, to let go
_OPEN_LOOK_S = 0.05
# Answers of the operating system that no wiping would mend.
_NOT_DAMAGE = ("No space left", "Permission denied", "Too many open files", "Read-only file system", "Disk quota")
_HELD = ("lock hold by", "Resource temporarily unavailable", "No locks available")

Failed = Callable[[BaseException], object]


def require() -> None:
    """Misconfigured when RocksDB is not installed."""
    if rocksdict is None:
        raise Misconfigured("store='rocksdb://' needs the extra: pip install 'faust-rdkafka[rocksdb]'")


class Resources:
    """What all databases of a process share: the cache of blocks and the bound on write buffers."""

    def __init__(self) -> None:
        require()
        self._cache = rocksdict.Cache(_BLOCK_CACHE_BYTES)
        self._buffers = rocksdict.WriteBufferManager(_WRITE_BUFFERS_BYTES, False)

    def options(self) -> Any:
        blocks = rocksdict.BlockBasedOptions()
        blocks.set_block_cache(self._cache)
        blocks.set_bloom_filter(_BLOOM_BITS, False)
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(blocks)
        options.set_write_buffer_manager(self._buffers)
        options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
        options.set_memtable_prefix_bloom_ratio(_MEMORY_BLOOM_RATIO)
        options.set_memtable_whole_key_filtering(True)
        options.set_allow_concurrent_memtable_write(False)  # one thread writes: a row costs 1 us in place of 2
        options.set_max_open_files(_OPEN_FILES_MAX)
        options.set_max_log_file_size(_LOG_BYTES_MAX)
        options.set_keep_log_file_num(2)
        options.set_stats_dump_period_sec(0)
        options.set_stats_persist_period_sec(0)
        options.set_manifest_preallocation_size(64 << 10)
        return options


class Database:
    """Bytes to bytes. `failed` is told of what ends the process before it is raised as StoreFailed: an agent must not
    take it for a fault of its record."""

    def __init__(self, folder: Path, resources: Resources, failed: Failed) -> None:
        self.folder = folder
        self._resources = resources
        self._failed = failed
        self._damaged = folder.with_name(folder.name + ".damaged")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder.with_name(folder.name + ".lock"))
        except OSError as error:
            raise StoreFailed(f"{folder} could not be made: {error}") from error
        self.note = Note()
        self._closed = False
        # rocksdict refuses to close while another thread reads.
        self._reading = threading.Lock()
        self._database: Any = None
        try:
            self._open_or_wipe()
        except BaseException:
            os.close(self._lock)
            raise

    def get(self, key: bytes) -> bytes | None:
        try:
            return self._database.get(_ROW + key)
        except Exception as error:  # rocksdict has no class of its own for what RocksDB answers
            raise self._report(error) from error

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """What `get` gives for each; other threads run meanwhile, as they do not at single reads. In any thread; KeyError
        once it is closed."""
        try:
            with self._reading:
                found: list[bytes | None] = self._database.get([_ROW + key for key in keys])
        except Exception as error:
            raise self._report(error) from error
        return found

    def scan(self, first: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) in order of the keys from `first` on, as they are at the first step."""
        yield from self._from(self._iterator(), _ROW + first)

    def scan_with_note(self) -> tuple[Note, Iterator[tuple[bytes, bytes]]]:
        """The note and all rows of one moment; may be read in any thread, while others write."""
        rows = self._iterator()
        try:
            rows.seek(_NOTE)
            noted = rows.valid() and rows.key() == _NOTE
            note = unpacked(rows.value()) if noted else Note()
        except Exception as error:
            raise self._report(error) from error
        return note, self._from(rows, _ROW)

    def _iterator(self) -> Any:
        try:
            return self._database.iter()
        except Exception as error:
            raise self._report(error) from error

    def _from(self, rows: Any, first: bytes) -> Iterator[tuple[bytes, bytes]]:
        # Not `items()`: it ends at a damaged block as if that were the end, as tried with rocksdict 0.3.29.
        try:
            rows.seek(first)
            while rows.valid():
                yield rows.key()[1:], rows.value()
                rows.next()
            rows.status()
        except Exception as error:
            rows = None  # an iterator in a traceback would hold the directory open
            raise self._report(error) from error

    def write(self, pairs: Iterable[tuple[bytes, bytes | None]], note: Note) -> None:
        """Rows (None: deleted) and the note, all or nothing. StoreFailed, told to nobody, when it is not possible."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for key, value in pairs:
            if value is None:
                delete(_ROW + key)
            else:
                put(_ROW + key, value)
        put(_NOTE, note.packed())
        try:
            self._database.write(batch)
        except Exception as error:
            raise StoreFailed(f"{self.folder} could not be written: {error}") from error
        self.note = note

    def write_committed(self, pairs: Iterable[tuple[bytes, bytes | None]], offset: int | None, added: int) -> None:
        """What a transaction just committed to the changelog; its fence shows that we own the partition, so the store
        is caught up. Without an offset the old one stays: the tail is then read twice, to the same end."""
        self.write(pairs, self.note.with_changes(offset, added, now_ms()))

    def count(self) -> int:
        """Look at each row; about 0.4 s for a million."""
        return sum(1 for _ in self.scan(b""))

    def flush(self) -> None:
        """Write what lies in memory into files, beside the log that has it already."""
        self._database.flush()

    def wipe(self, why: str) -> None:
        log.warning("table store %s is wiped and will be restored: %s", self.folder, why)
        with self._reading:
            self._database.close()
            self._clear()
            self._database = self._try_open()
        self.note = Note()

    def close(self) -> None:
        self._closed = True
        with self._reading:
            self._database.close()
        os.close(self._lock)

    def _open_or_wipe(self) -> None:
        if self._damaged.exists():
            log.warning("table store %s was found damaged: it is wiped and will be restored", self.folder)
            self._clear()
        try:
            self._database = self._try_open()
            data = self._database.get(_NOTE)
            self.note = Note() if data is None else unpacked(data)
        except StoreFailed:
            raise
        except Exception as error:
            if any(text in str(error) for text in _NOT_DAMAGE):
                raise StoreFailed(f"{self.folder} could not be opened: {error}") from error
            log.warning("table store %s cannot be read: it is wiped and will be restored: %s", self.folder, error)
            if self._database is not None:  # opened, but its note says nothing to us
                self._database.close()
            self._clear()
            self._database = self._try_open()

    def _try_open(self) -> Any:
        # The directory is ours by our own lock. RocksDB's is held for as long as an iterator of this process lives.
        deadline = time.monotonic() + _OPEN_WITHIN_S
        while True:
            try:
                return rocksdict.Rdict(str(self.folder), self._resources.options())
            except Exception as error:
                if not any(text in str(error) for text in _HELD):
                    raise
                if time.monotonic() > deadline:
                    raise StoreFailed(f"{self.folder} is held open: {error}") from error
            time.sleep(_OPEN_LOOK_S)

    def _clear(self) -> None:
        # Away in one step: half a directory might still be opened.
        away = self.folder.with_name(self.folder.name + ".wiped")
        shutil.rmtree(away, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)
        self._damaged.unlink(missing_ok=True)

    def _report(self, error: Exception) -> Exception:
        if self._closed:  # a query that began before the partition went to another worker
            return KeyError(f"{self.folder} is not ours any more")
        failure = StoreFailed(f"{self.folder} could not be read: {error}")
        if "Corruption" in str(error):
            self._damaged.touch()
        self._failed(failure)
        return failure


def _lock(path: Path) -> int:
    """The descriptor that holds the lock; the kernel lets go when the process is gone, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + _OPEN_WITHIN_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise StoreFailed(
                    f"{path} is held by another process: give each worker its own `instance` or `datadir`"
                ) from None
        time.sleep(_OPEN_LOOK_S)
