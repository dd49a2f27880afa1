"""The rebuilds of one worker: each partition's owner folds the new version of a table beside the served one.

The path of a build:
1. `table-versions` asks for a version: the table is taken in, empty, with a changelog of its own;
2. behind: pieces of the input topic are folded in a thread and committed between two batches, fenced, with how far
   they reach (a row of the table `rebuilds`), so that a crash or a new owner goes on where the last commit stood;
3. in step: once a partition has folded all that the served version has, each batch folds both, in one transaction;
4. promoted: between two batches the new version takes the served one's place; or discarded: it goes.
What folds is new code in the live worker, so whatever it raises is a fault of the build and of nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import structlog
from confluent_kafka import KafkaException
from faust.types import TP

from faust_rdkafka import App, Batch, RawRecord
from schemas.envelope import Message
from schemas.table_versions import Versions
from streams.read_models.table_of_tables import ReadModel, read_model
from streams.rebuilds.builds import Build, NotHere
from streams.rebuilds.folding import Folded
from streams.rebuilds.inputs import Decode, Inputs

TABLE = "rebuilds"
# A piece that is there makes the next tick due at once; this is for what a build has to begin by itself.
TICK_S = 1.0
AGAIN_AFTER_S = 1.0

log = structlog.get_logger()

Row = dict[str, Any]


class Rebuilds:
    """See the module. `tables` and `served` (the table and its model by read model) change with a promotion."""

    def __init__(
        self,
        app: App,
        tables: dict[str, Any],
        served: dict[str, ReadModel],
        models: tuple[ReadModel, ...],
        decode: Decode,
    ) -> None:
        self._app, self._tables, self._served = app, tables, served
        self._models, self._decode = models, decode
        self._builds: dict[str, Build] = {}
        # Rows of `rebuilds` whose build is over: (partition, key).
        self._over: set[tuple[int, str]] = set()
        self._wanted: dict[str, Versions] = {}
        self._applied: dict[str, Versions] = {}
        self._applying: asyncio.Task[None] | None = None
        app.on_partitions_restored(self._restored)
        app.on_partitions_dropped(self._dropped)
        app.batch_timer(TICK_S)(self._tick)

    # -- versions

    def declare(self, versions: dict[str, Versions]) -> None:
        """Before the app starts: the tables that `versions` tells, in place of the first versions."""
        for name in self._served:
            wanted = versions.get(name, Versions())
            if wanted.served != 1:
                self._app.tables.withdraw(self._tables[name])
                self._tables[name] = self._app.Table(name, version=wanted.served)
                self._served[name] = read_model(name, wanted.served, self._models)
            if wanted.building is not None:
                table = self._app.Table(name, version=wanted.building)
                self._builds[name] = self._build(name, wanted.building, table)
            for version in range(1, wanted.newest + 1):
                # What was promoted or discarded while this worker was away.
                if version not in (wanted.served, wanted.building):
                    self._app.tables.remove_files(name if version == 1 else f"{name}-v{version}")
        self._wanted = self._applied = versions

    def changed(self, versions: dict[str, Versions]) -> None:
        """While the app runs: what is to be served and built from now on."""
        self._wanted = versions
        if self._applying is None or self._applying.done():
            self._applying = asyncio.get_running_loop().create_task(self._apply())

    async def stop(self) -> None:
        """Ends what goes on beside the batches."""
        if self._applying is not None:
            self._applying.cancel()
        for build in self._builds.values():
            inputs = build.inputs
            build.close_inputs()
            if inputs is not None:
                await asyncio.to_thread(inputs.join)

    async def _apply(self) -> None:
        try:
            while self._applied != self._wanted:
                wanted = self._wanted
                try:
                    for name in self._served:
                        await self._apply_one(name, wanted.get(name, Versions()))
                except KafkaException as error:
                    log.warning("a change of table versions waits for Kafka", error=str(error))
                    await asyncio.sleep(AGAIN_AFTER_S)
                else:
                    self._applied = wanted
        except Exception as error:
            # The next start reads from the topic what is to be there, and declares just that.
            log.exception("table versions cannot be changed in this process")
            self._app.fatal(error)

    async def _apply_one(self, name: str, wanted: Versions) -> None:
        build = self._builds.get(name)
        if build is not None and wanted.served == build.version:
            await self._promote(build)
        elif build is not None and wanted.building != build.version:
            await self._discard(build)
        if wanted.served != self._tables[name].version:
            raise NotHere(name, wanted.served)
        if wanted.building is not None and name not in self._builds:
            table = await self._app.begin_table(name, version=wanted.building)
            async with self._app.between_batches():
                build = self._builds[name] = self._build(name, wanted.building, table)
                self._begin(build, table.partitions_owned())
            log.info("a table version is being built", table=name, version=wanted.building)
            self._app.hasten(self._tick)

    async def _promote(self, build: Build) -> None:
        while True:
            async with self._app.between_batches():
                if all(build.in_step.values()):
                    before = self._tables[build.name]
                    self._tables[build.name], self._served[build.name] = build.table, build.model
                    self._end(build)
                    break
            # Whoever promotes asks first, so this is a matter of a rebalance at most.
            await asyncio.sleep(AGAIN_AFTER_S)
        log.info("a table version is promoted", table=build.name, version=build.version)
        await self._app.end_table(before, remove=True)

    async def _discard(self, build: Build) -> None:
        async with self._app.between_batches():
            self._end(build)
        log.info("a table version is discarded", table=build.name, version=build.version)
        await self._app.end_table(build.table, remove=True)

    def _build(self, name: str, version: int, table: Any) -> Build:
        return Build(name, version, table, read_model(name, version, self._models))

    def _end(self, build: Build) -> None:
        build.close_inputs()
        del self._builds[build.name]
        self._over.update((partition, build.key) for partition in build.in_step)
        self._app.hasten(self._tick)

    # -- partitions

    def _restored(self, partitions: set[int]) -> None:
        for build in self._builds.values():
            self._begin(build, partitions)
        known = {build.key for build in self._builds.values()}
        self._over = {
            (partition, key)
            for partition in partitions
            for key in self._tables[TABLE].partition(partition)
            if key not in known
        }
        self._app.hasten(self._tick)

    def _begin(self, build: Build, partitions: Iterable[int]) -> None:
        build.close_inputs()
        build.in_step = {}
        for partition in partitions:
            live, reached = self._live(build, partition), self._row(build, partition)["next_offset"]
            build.in_step[partition] = live is not None and reached >= live
            build.since[partition] = reached

    def _dropped(self, partitions: set[int]) -> None:
        for build in self._builds.values():
            build.close_inputs()
            for partition in partitions:
                build.in_step.pop(partition, None)

    def _live(self, build: Build, partition: int) -> int | None:
        """The next offset that the served version will fold."""
        position: int | None = self._app.consumer.position(TP(build.model.topic, partition))
        return position

    # -- behind: between batches

    async def _tick(self) -> None:
        for partition, key in self._over:
            self._tables[TABLE].partition(partition).pop(key, None)
        self._over.clear()
        for build in list(self._builds.values()):
            await self._advance(build)

    async def _advance(self, build: Build) -> None:
        behind = [partition for partition, in_step in build.in_step.items() if not in_step]
        if not behind:
            build.close_inputs()
            return
        if build.inputs is None or build.inputs.ended:
            build.inputs = self._inputs(build, behind)
        inputs = build.inputs
        for partition, run in (inputs.take() or {}).items():
            live = self._live(build, partition)
            if live is None or build.in_step.get(partition, True):
                continue
            folded = build.fold(partition, run.before(live)) if run.values else run.folded
            if run.rows:
                build.table.stage(partition, run.rows, run.added)
            reached = min(run.next_offset, live)
            self._note(build, partition, folded, reached)
            build.in_step[partition], build.since[partition] = reached >= live, reached
            if reached >= live:
                inputs.leave(partition)
            # Queries are answered in between; partitions may be taken away then.
            await asyncio.sleep(0)
        if inputs.more:
            self._app.hasten(self._tick)

    def _inputs(self, build: Build, partitions: list[int]) -> Inputs:
        starts = {partition: self._row(build, partition)["next_offset"] for partition in partitions}
        places = build.places(starts, partial(self._live, build))
        told = partial(asyncio.get_running_loop().call_soon_threadsafe, self._app.hasten, self._tick)
        return Inputs(self._app.transport.client_config(), build.model, places, self._decode, told)

    # -- in step: in the agents' batches

    def follow(self, name: str, batch: Batch) -> None:
        """Folds what a read model's agent has just had; nothing where no version is in step."""
        build = self._builds.get(name)
        if build is not None and build.in_step.get(batch.partition):
            folded = build.fold(batch.partition, batch.values)
            self._note(build, batch.partition, folded, batch.raw(len(batch) - 1).offset + 1)

    def redriven(self, name: str, record: RawRecord, message: Message) -> None:
        """Folds a record that was set aside and is handled now, where the build has passed it by."""
        build = self._builds.get(name)
        if build is not None and record.partition in build.in_step:
            reached = self._row(build, record.partition)["next_offset"]
            if record.offset < reached:
                if not build.in_step[record.partition]:
                    # What was folded ahead of this has the row without it.
                    build.close_inputs()
                folded = build.fold(record.partition, [message])
                self._note(build, record.partition, folded, reached)

    def _row(self, build: Build, partition: int) -> Row:
        found: Row | None = self._tables[TABLE].partition(partition).get(build.key)
        return self._nothing(build) if found is None else found

    def _nothing(self, build: Build) -> Row:
        nothing = {"table": build.name, "version": build.version, "next_offset": 0, "events": 0, "faults": 0}
        return {**nothing, "last_fault": None}

    def _note(self, build: Build, partition: int, folded: Folded, next_offset: int) -> None:
        row = self._row(build, partition)
        self._tables[TABLE].partition(partition)[build.key] = {
            **row,
            "next_offset": next_offset,
            "events": row["events"] + folded.events,
            "faults": row["faults"] + folded.faults,
            "last_fault": folded.last_fault or row["last_fault"],
        }

    # -- what is told

    def status(self) -> Iterator[Row]:
        """Each owned partition of each build, as it stands in the last commit, with the live offset beside."""
        for build in self._builds.values():
            for partition, in_step in sorted(build.in_step.items()):
                rows = self._tables[TABLE].committed(partition)
                row = rows.get(build.key) or self._nothing(build)
                committed = in_step and row["next_offset"] >= build.since[partition]
                live = self._live(build, partition)
                yield {**row, "partition": partition, "in_step": committed, "live_offset": live}

    def build(self, name: str) -> Build | None:
        """What is being built of a read model."""
        return self._builds.get(name)

    def table(self, name: str) -> Any:
        """The table that is served."""
        return self._tables[name]

    def reached(self, build: Build, partition: int) -> int:
        """The input offset at which a partition of a build stands; call it between batches."""
        next_offset: int = self._row(build, partition)["next_offset"]
        return next_offset

    def served(self) -> dict[str, int]:
        """The version of each read model that answers queries."""
        return {name: self._tables[name].version for name in self._served}
