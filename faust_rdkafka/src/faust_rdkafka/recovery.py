"""Faust's table manager and its recovery, cut down to: declare changelogs, restore, say when tables are ready."""

from __future__ import annotations

import asyncio
import shutil
from functools import cached_property
from typing import Any

from faust.tables.manager import TableManager as FaustTableManager
from faust.types import TP
from mode import Service

from .errors import Misconfigured, TransportError
from .restore import restore
from .stores.opening import Stores
from .table import Table


class Recovery(Service):
    """Restores the tables' partitions whenever partitions are assigned, before any record is read."""

    in_recovery = False

    def __init__(self, app: Any, tables: Any, **options: Any) -> None:
        self.app = app
        self.tables = tables
        self.completed = asyncio.Event()
        super().__init__(**options)

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Tables stay until the next assignment says which of them go."""

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        app, tables = self.app, list(self.tables.values())
        wanted = {tp.partition for tp in assigned}
        held = {number for table in tables for number in table.owned()}
        dropped = held if app.consumer.lost else held - wanted
        for table in tables:
            table.hide()
            for number in dropped:
                table.drop(number)
        if dropped:
            await app.tell_dropped(dropped)
        self.in_recovery = True
        try:
            complete = await asyncio.get_running_loop().run_in_executor(
                None,
                restore,
                tables,
                wanted,
                app.transport.client_config(),
                app.stats,
                lambda: app.consumer.should_stop or app.should_stop,
            )
            for table in tables:
                complete = complete and await table.follow_others(wanted)
        finally:
            self.in_recovery = False
        if app.should_stop or not complete:
            return
        for table in tables:
            for number in wanted:
                table.publish(number)
            await table.call_recover_callbacks()
        if wanted:
            await app.tell_restored(wanted)
        self._resume()

    def _resume(self) -> None:
        app = self.app
        self.completed.set()
        app.flow_control.resume()
        app.consumer.resume_flow()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()


class TableManager(FaustTableManager):
    _recovery: Recovery | None = None

    @cached_property
    def stores(self) -> Stores:
        return Stores(self.app, lambda error: self.app.transport.fatal(error))

    @property
    def recovery(self) -> Any:
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def on_start(self) -> None:
        # Not Faust's second of waiting: tables are declared before the app starts.
        await self._update_channels()
        await self.recovery.start()

    async def _update_channels(self) -> None:
        # The consumer does not subscribe to changelogs; the restore reads them by itself.
        self._tables_finalized.set()
        for table in self.values():
            await table.maybe_start()
        self._tables_registered.set()

    def add(self, table: Any) -> Any:
        if not isinstance(table, Table):
            raise Misconfigured(f"table {table.name!r}: a {type(table).__name__} is not supported by rdkafka://")
        if self._tables_finalized.is_set():
            raise TransportError(f"table {table.name!r} is declared after the app started")
        return self._register(table)

    def withdraw(self, table: Table) -> None:
        """Take a declaration back, before the app starts."""
        if self._tables_finalized.is_set():
            raise TransportError(f"table {table.name!r} is withdrawn after the app started")
        self._unregister(table)

    async def take_in(self, table: Table) -> None:
        """Between two batches: the owned partitions are restored, and published."""
        self._register(table)
        await table.maybe_start()
        numbers = {tp.partition for tp in self.app.consumer.assignment()}
        complete = await asyncio.get_running_loop().run_in_executor(
            None,
            restore,
            [table],
            numbers,
            self.app.transport.client_config(),
            self.app.stats,
            lambda: self.app.consumer.should_stop or self.app.should_stop,
        )
        if complete:
            for number in numbers:
                table.publish(number)

    async def let_go(self, table: Table, *, remove: bool) -> None:
        """Between two batches: the partitions' stores are closed."""
        self._unregister(table)
        await table.stop()
        if remove:
            await asyncio.get_running_loop().run_in_executor(None, self.remove_files, table.name)

    def remove_files(self, name: str) -> None:
        """What a table that is declared no more left here; a changelog that stands would fill it again."""
        shutil.rmtree(self.stores.folder(name), ignore_errors=True)

    def _unregister(self, table: Table) -> None:
        del self[table.name]
        del self._changelogs[table.changelog_topic_name]

    def _register(self, table: Table) -> Table:
        if table.name in self:
            raise TransportError(f"table {table.name!r} is declared twice")
        self.stores.check(table)
        self[table.name] = table
        self._changelogs[table.changelog_topic_name] = table
        return table
