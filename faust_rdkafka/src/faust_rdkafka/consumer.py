"""Faust's consumer: its place in Faust's life cycle and rebalance chain; fetching and committing are elsewhere."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaException
from confluent_kafka.admin import OffsetSpec
from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP
from faust.types.enums import ProcessingGuarantee

from .batches import BatchLoop
from .errors import Misconfigured, cause, is_fatal
from .fetch import Fetcher
from .options import consumer_config
from .records import BatchSchema
from .restore import patiently
from .topics import declare_changelogs, equal_partition_count

log = logging.getLogger(__name__)

# A rebalance in mid-batch waits for the batch; a stop does not wait longer than this for a broker that is away.
_FINISH_S = 10.0
_CLOSE_S = 5.0
# Longer than a broker takes to come back, or a partition to find another leader.
_END_OFFSETS_WITHIN_S = 60.0
_ASK_AGAIN_S = 0.5


def _never() -> float:
    return float("inf")


class Consumer(FaustConsumer):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._check_app()
        # Faust's compiled stream iterator collects acknowledged offsets above this one; there are none.
        self._committed_offset: defaultdict[TP, float] = defaultdict(_never)
        transport = self.transport
        self._assigned: set[TP] = set()
        config = consumer_config(transport.options, transport.client_config(), self.app.conf.id)
        self.fetcher = Fetcher(config, transport.options, self, transport.stats)
        self.batches = BatchLoop(self.app, self.fetcher, transport.stats)
        self._subscribed: list[str] = []
        self._partition_counts: dict[str, int] = {}
        self.partitions = 0  # of each source topic and each changelog; known from the subscription on

    @property
    def lost(self) -> bool:
        return self.fetcher.lost

    def _check_app(self) -> None:
        """A plain faust.App gets transport and offsets; what needs our tables is refused."""
        if self.transport.is_ours:
            return
        if self.app.conf.processing_guarantee == ProcessingGuarantee.EXACTLY_ONCE:
            raise Misconfigured(
                "processing_guarantee='exactly_once' needs faust_rdkafka.App; this is a plain faust.App"
            )
        log.warning("rdkafka:// with a plain faust.App: tables would be outside the transaction; use faust_rdkafka.App")

    # -- life cycle

    async def on_start(self) -> None:
        if self.app.tables and not self.transport.is_ours:
            raise Misconfigured("tables over rdkafka:// need faust_rdkafka.App; this is a plain faust.App")
        self._event_loop = asyncio.get_running_loop()
        self.app.producer.on_aside = self.batches.wake
        self.fetcher.start(self._event_loop)

    async def finish(self) -> None:
        """The running batch is committed, or, when that takes too long, given up; no other is begun."""
        try:
            await asyncio.wait_for(self.batches.finish(), _FINISH_S)
        except TimeoutError:
            log.warning("the running batch did not end within %s s: given up, it will be read again", _FINISH_S)
            self.batches.give_up()
            self.app.producer.transactions.stopping.set()

    async def on_stop(self) -> None:
        self.batches.give_up()
        await self.fetcher.stop()

    async def subscribe(self, topics: Iterable[str]) -> None:
        names = sorted(topics)
        if names == self._subscribed:
            return  # an agent was started anew; to subscribe again would be a rebalance
        self._subscribed = names
        self.partitions = await self.check_topics(names)
        await declare_changelogs(self.app, self.partitions, list(self.app.tables.values()))
        self.fetcher.subscribe(names)

    async def check_topics(self, names: Iterable[str]) -> int:
        """The partition count of the sources; Misconfigured when they differ or are missing."""
        sources = [name for name in names if name != self.app.conf.reply_to]
        return await asyncio.get_running_loop().run_in_executor(
            None, equal_partition_count, self.transport.admin, sources, lambda: bool(self.should_stop)
        )

    async def _drain_messages(self, fetcher: Any) -> None:
        await self.batches.run()

    async def on_task_error(self, exc: BaseException) -> None:
        """An agent raised, and this is still its task."""
        log.warning("an agent raised", exc_info=exc)
        task = asyncio.current_task()
        refs = [ref for agent in self.app.agents.values() for ref in agent._actors if ref.actor_task is task]
        if any(not ref.stream.enable_acks for ref in refs):
            # Inside of take(): its buffer outlives the agent in the stream that succeeds, and swallows records.
            self.batches.give_up()
            self.transport.fatal(exc)
            return
        self.batches.agent_failed(exc)
        # The agent's frame holds its stream's generator. Faust leaves that to the garbage collector, whose late close
        # stops the stream under the agent's successor: so close it now and wait until it is.
        if exc.__traceback__ is not None:
            traceback.clear_frames(exc.__traceback__)
        for ref in refs:
            await asyncio.wait_for(_until_stopped(ref.stream), _CLOSE_S)

    # -- what the fetch thread asks for

    def wake(self) -> None:
        self.batches.wake()

    def failed(self, error: BaseException) -> None:
        self.transport.fatal(error)

    async def assigned(self, starts: dict[TP, int]) -> dict[TP, BatchSchema]:
        """Partitions came; gives the decoders of those whose records can be decoded ahead."""
        if not self.app.rebalancing:
            self.app.on_rebalance_start()
        self.app.consumer_generation_id += 1
        self._assigned = set(starts)
        self.batches.assigned(starts)
        await self.on_partitions_assigned(set(starts), self.app.consumer_generation_id)
        if self.app.crashed:
            # Faust keeps an exception of this chain to itself and would idle on.
            self.transport.fatal(self.app.crash_reason)
            return {}
        if self.transport.is_ours:
            self.app.on_rebalance_end()
        self.batches.ready = not self.app.should_stop
        self.batches.wake()
        await self.app._fetcher.maybe_start()
        decoders: dict[TP, BatchSchema] = self.app.topics.decoders()
        return decoders

    async def revoked(self, partitions: set[TP]) -> None:
        self.app.on_rebalance_start()
        async with self.batches.busy:
            self.batches.revoked()
        await self.on_partitions_revoked(partitions)
        self._assigned = set()

    # -- positions

    def assignment(self) -> set[TP]:
        return set(self._assigned)

    def position(self, tp: TP) -> int | None:
        """The next offset to be processed: all before it is committed. None when the partition is not ours."""
        return self.batches.commits.positions.get(tp)

    async def end_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """The high watermarks now, records of open transactions included."""
        asked = {confluent_kafka.TopicPartition(tp.topic, tp.partition): OffsetSpec.latest() for tp in tps}
        if not asked:
            return {}
        until_s = time.monotonic() + _END_OFFSETS_WITHIN_S
        while True:
            found = self.transport.admin.list_offsets(
                asked, isolation_level=confluent_kafka.IsolationLevel.READ_UNCOMMITTED, request_timeout=10
            )
            try:
                return {
                    TP(place.topic, place.partition): (await asyncio.wrap_future(future)).offset
                    for place, future in found.items()
                }
            except KafkaException as error:
                if is_fatal(cause(error)) or time.monotonic() > until_s:
                    raise
                log.warning("end offsets: %s; asking again", cause(error))
            # Of a partition whose leader was elected anew the client remembers the old epoch until it reads the metadata.
            topics = confluent_kafka.TopicCollection([*{tp.topic for tp in asked}])
            described = self.transport.admin.describe_topics(topics, request_timeout=10)
            await asyncio.gather(*map(asyncio.wrap_future, described.values()), return_exceptions=True)
            await asyncio.sleep(_ASK_AGAIN_S)

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        return await self.end_offsets(tps)

    # -- Faust's own ways of committing and seeking, which batches replace

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        return True

    async def _commit(self, offsets: Any) -> bool:
        return True

    async def wait_empty(self) -> None:
        """Rebalances and `finish` wait for the running batch."""

    async def perform_seek(self) -> None: ...

    async def seek_to_committed(self) -> dict[TP, int]:
        return {}

    async def _seek(self, partition: TP, offset: int) -> None:
        raise Misconfigured("seek is not supported by rdkafka://: offsets move with transactions only")

    async def seek_wait(self, partitions: Any) -> None:
        raise Misconfigured("seek is not supported by rdkafka://: offsets move with transactions only")

    async def seek_to_beginning(self, *partitions: TP) -> None:
        raise Misconfigured("seek is not supported by rdkafka://: offsets move with transactions only")

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return {}

    async def _getmany(self, active_partitions: Any, timeout: float) -> dict[TP, Any]:
        return {}

    def highwater(self, tp: TP) -> int:
        return 0

    def topic_partitions(self, topic: str) -> int | None:
        if topic not in self._partition_counts:
            try:
                found = patiently(lambda: self.transport.admin.list_topics(topic, timeout=5), lambda: True)
            except KafkaException:
                return None
            self._partition_counts[topic] = len(found.topics[topic].partitions)
        return self._partition_counts[topic]

    def key_partition(self, topic: str, key: bytes, partition: int | None = None) -> int | None:
        return partition

    def _to_message(self, tp: TP, record: Any) -> Any:
        raise Misconfigured("rdkafka:// makes messages in batches, not one by one")

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def close(self) -> None: ...

    async def create_topic(self, *args: Any, **options: Any) -> None:
        await self.app.producer.create_topic(*args, **options)


async def _until_stopped(stream: Any) -> None:
    # The generator's close is a task that takes a few turns of the loop, and there is no event for its end.
    while stream.started:  # noqa: ASYNC110
        await asyncio.sleep(0)
