"""Finds out from Faust's settings where a table's rows lie, and opens them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from faust_rdkafka.errors import Misconfigured
from faust_rdkafka.options import Options

from .database import Failed, Resources, require
from .memory import MemoryRows
from .rocks_rows import RocksRows

MEMORY = "memory"
ROCKSDB = "rocksdb"


class Stores:
    """The stores of one app. Directories: `<tabledir>[/<instance>]/<table>/<partition>`."""

    def __init__(self, app: Any, failed: Failed) -> None:
        self._app = app
        self._failed = failed

    @cached_property
    def _resources(self) -> Resources:
        return Resources()

    def check(self, table: Any) -> None:
        """Misconfigured when the table's store is of no kind that there is, or its package is missing."""
        kind = self.kind(table)
        if kind == ROCKSDB:
            require()
        elif kind != MEMORY:
            raise Misconfigured(f"table {table.name!r}: store {kind}:// is neither memory:// nor rocksdb://")

    def kind(self, table: Any) -> str:
        """The scheme of the table's store, by its own setting or the app's."""
        scheme: str = (table._store or self._app.conf.store).scheme
        return scheme

    def folder(self, name: str) -> Path:
        """Of a table, with its version in the name."""
        options: Options = self._app.options
        return Path(self._app.conf.tabledir) / (options.instance or "") / name

    def open(self, table: Any, number: int) -> MemoryRows | RocksRows:
        """Blocks on files. StoreFailed when they cannot be used."""
        if self.kind(table) == MEMORY:
            return MemoryRows()
        database = table.Database(self.folder(table.name) / str(number), self._resources, self._failed)
        return RocksRows(database, table.key_codec, table.value_codec, self._app.options.store_cache_rows)
