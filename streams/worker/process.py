"""The worker's life: HTTP first, then the app, until SIGTERM or a fatal error."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import KafkaException

from faust_rdkafka import App, run
from schemas.codec import AvroCodec, Codec
from schemas.envelope import now
from schemas.topics import APP_ID
from streams.histories.following import Follower
from streams.histories.pages import add_histories
from streams.read_models.table_of_tables import READ_MODELS, ReadModel
from streams.rebuilds.control import Control
from streams.rebuilds.pages import add_rebuilds
from streams.worker.agents import Agents, declare
from streams.worker.metrics import WorkerMetrics, registry
from streams.worker.reading import Freshness, Reader
from streams.worker.waiting import Waiters
from streams.worker.web import Pages, serve

# A batch of this many orders of 25 lines is a transaction of some 15,000 records, and the loop answers
# queries again after a fraction of a second.
BATCH_RECORDS_MAX = 500
# Decoded rows in memory of a partition of a table: what orders in flight touch, many times over. An order of 25 lines
# is some 10 KB, so all tables of four partitions together stay below 150 MB, however large they are on disk.
STORE_CACHE_ROWS = 2_000
# How often the worker compares what it has read with what there is.
FRESHNESS_INTERVAL_S = 1.0
# Rows and messages hold no cycles: Python's default of 700 would walk over all of them again and again. What a rebuild
# has under way is some 100,000 objects; a threshold below that would cost it a fifth of its time.
GC_THRESHOLDS = (250_000, 10, 50)

CODEC = AvroCodec()

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Where this worker reads, who it is (`index` counts from 0), where it answers and where its files lie."""

    kafka_bootstrap: str
    index: int
    host: str
    port: int
    data_dir: Path

    @property
    def name(self) -> str:
        """The worker's slot, in logs and answers."""
        return f"worker-{self.index}"

    @property
    def folder(self) -> Path:
        """This worker's own: tables and the index of histories."""
        return (self.data_dir / "workers" / self.name).absolute()

    @property
    def client_id(self) -> str:
        """In the group's description this tells others where the worker answers."""
        return f"tally-{self.name}@{self.host}:{self.port}"


class FolderUnusable(Exception):
    """The worker's tables cannot lie where they were to."""

    def __init__(self, folder: Path, error: OSError) -> None:
        super().__init__(f"cannot keep tables in {folder}: {error.strerror or error}")


async def work(
    settings: WorkerSettings,
    clock: Callable[[], datetime] = now,
    codec: Codec = CODEC,
    models: tuple[ReadModel, ...] = READ_MODELS,
    make_app: type[App] = App,
) -> int:
    """Runs the worker to its end; gives the exit code (70: a fatal error, start it again).

    `models` are the folds that it knows; which of them is used says the topic of table versions. `make_app` may be an
    App that ends at named steps, for tests. Raises FolderUnusable, and PortTaken of `streams.worker.web`.
    """
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderUnusable(settings.folder, error) from error
    agents: Agents
    app = make_app(
        APP_ID,
        broker=f"rdkafka://{settings.kafka_bootstrap}",
        instance=settings.name,
        client_id=settings.client_id,
        store="rocksdb://",
        datadir=str(settings.folder),
        store_cache_rows=STORE_CACHE_ROWS,
        batch_records_max=BATCH_RECORDS_MAX,
        dead_letter=lambda record, reason, error: agents.parking.killed(record, reason, error),
        web_enabled=False,
    )
    agents = declare(app, codec, clock, models)
    waiters, reader = Waiters(), Reader(agents, settings.name)
    app.on_commit(lambda table, partition, keys: waiters.wake(agents.shown_as(table), partition, keys))
    app.on_commit(lambda _table, partition, _keys: reader.freshness.confirm(partition))
    progress = _Progress(app)
    pages = Pages(reader, waiters, progress, registry(WorkerMetrics(agents, waiters)))
    application = pages.application()
    add_rebuilds(application, app, agents.rebuilds, settings.name)

    def owned() -> set[int]:
        partitions: set[int] = agents.tables["orders"].partitions_owned()
        return partitions

    follower = Follower(settings.kafka_bootstrap, settings.folder / "histories", owned)
    add_histories(application, lambda: follower.index, owned)
    server = await serve(application, settings.host, settings.port)
    follower.start()
    control = Control(settings.kafka_bootstrap, frozenset(agents.models))
    watching = asyncio.create_task(_watch_freshness(app, reader.freshness))
    log.info("worker starts", worker=settings.name, client_id=settings.client_id)
    try:
        agents.rebuilds.declare(await control.first())
        control.tell(agents.rebuilds.changed)
        code: int = await run(app)
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await server.cleanup()
        await agents.rebuilds.stop()
        await asyncio.gather(asyncio.to_thread(follower.stop), asyncio.to_thread(control.stop))
    log.info("worker ended", worker=settings.name, exit_code=code)
    return code


class _Progress:
    """What the probes show; `started` stays true once the tables were restored for the first time."""

    def __init__(self, app: App) -> None:
        self._app, self._started = app, False

    def __call__(self) -> dict[str, Any]:
        stats, ready = self._app.stats, bool(self._app.ready)
        self._started = self._started or ready
        return {
            "ready": ready,
            "started": self._started,
            "restoring": stats.restoring,
            "restored_records": stats.restore_records,
            "to_restore": stats.restore_total,
        }


async def _watch_freshness(app: App, freshness: Freshness) -> None:
    """Confirms every partition of which all was read."""
    while True:
        await asyncio.sleep(FRESHNESS_INTERVAL_S)
        if app.ready:
            with contextlib.suppress(KafkaException):
                # A broker out of reach: the rows grow old, which is what their age then says.
                await _confirm(app.consumer.end_offsets, app, freshness)


async def _confirm(end_offsets: Callable[[Any], Awaitable[dict[Any, int]]], app: App, freshness: Freshness) -> None:
    ends = await end_offsets(app.consumer.assignment())
    behind = {tp.partition for tp, end in ends.items() if (app.consumer.position(tp) or 0) < end}
    for partition in {tp.partition for tp in ends} - behind:
        freshness.confirm(partition)
