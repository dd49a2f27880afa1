"""The copies' loop: read changelogs, write to Valkey, commit the offsets; begin anew when Valkey was emptied.

Only the served version of a table is copied. With a promotion its changelog is another topic: what the former left is
removed, and readers, who miss, ask the owner until the new version's rows are copied.
"""

from __future__ import annotations

import logging
import time
from threading import Event

import structlog
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from connectors.consuming import KafkaAway, Partition, PlacedConsumer, Record
from connectors.copies.config import CopiesConfig
from connectors.copies.letters import Letters
from connectors.copies.metrics import CopiesMetrics
from connectors.copies.rows import Row, row_of
from connectors.copies.valkey import Copies, Emptied, Namespace, ValkeyAway, life_of
from connectors.copies.versions import ServedVersions
from connectors.probes import Health
from connectors.stepping import step_until
from schemas.codec import Codec
from schemas.errors import Undecodable

log = structlog.get_logger(__name__)

METRICS_EVERY_S = 1.0
# How long after a promotion the former version's copies still answer.
VERSIONS_EVERY_S = 0.5
DESCRIBED_WITHIN_S = 5.0


class CopiesSink:
    """`run` works until `stop` is set, and waits without end for Kafka or Valkey. Raises `connectors.consuming.Fenced`."""

    passing = (ValkeyAway, Emptied, KafkaAway)

    def __init__(self, config: CopiesConfig, codec: Codec, metrics: CopiesMetrics) -> None:
        self._metrics, self.restarts = metrics, metrics.restarts
        self._config = config
        self._versions = ServedVersions(config.bootstrap, config.versions, config.tables)
        # Table and version by changelog, as we are subscribed; `_settled` once these are the served ones.
        self._tables: dict[str, tuple[str, int]] = {}
        self._settled = False
        self._looked_at_s = 0.0
        self._bounds = config.bounds
        self._copies = Copies(config.redis_url, Namespace(config.prefix, config.tombstone_s))
        self._letters = Letters(config.bootstrap, codec)
        self._bootstrap = config.bootstrap
        self.consumer = PlacedConsumer(config.consumer_group)
        # The mark that each of our partitions must have for our offsets to be true.
        self._marks: dict[Partition, str] = {}
        self._shown_at_s = 0.0

    def run(self, stop: Event, health: Health) -> None:
        """See the class."""
        try:
            step_until(stop, self, health)
        finally:
            self._versions.close()
            self._copies.close()
            self.consumer.close()

    def step(self) -> None:
        """One batch; now and then, what the metrics show."""
        if not self._settled or time.monotonic() >= self._looked_at_s + VERSIONS_EVERY_S:
            self._look_at_versions()
        if self.consumer.unplaced:
            self._place()
        records = self.consumer.gather(self._bounds)
        if records:
            self._work(records)
        if time.monotonic() >= self._shown_at_s:
            self._show()

    def forget(self, reason: Exception) -> None:
        """Nothing: the next placement asks Valkey anew."""

    def _look_at_versions(self) -> None:
        """Subscribes to the changelogs of the served versions, once the group has taken us in with those of the first.

        Kafka gives a static member that is back what it had before, whatever it asks for; what it asks for later counts.
        """
        joined = self.consumer.joined
        served = self._versions.look() if joined else dict.fromkeys(self._config.tables, 1)
        self._settled, self._looked_at_s = joined, time.monotonic()
        tables = self._config.table_by_topic(served)
        if tables != self._tables:
            log.info("copies", changelogs=sorted(tables))
            self._tables = tables
            self.consumer.subscribe(tuple(tables))

    def _place(self) -> None:
        """Where to begin: at the group's offset where the mark says that Valkey holds all below it, else at the beginning.

        1. What another life left of a table is removed.
        2. The group's offsets of unmarked partitions go back to the beginning.
        3. Only then they are marked: killed in between, they are unmarked still.
        """
        owned = self.consumer.owned
        run_id = self._copies.run_id()
        lives = {topic: life_of(id_, run_id) for topic, id_ in self._topic_ids(sorted({t for t, _ in owned})).items()}
        for topic, life in lives.items():
            partitions = range(self.consumer.partitions(topic))
            self._copies.remove_former_life(topic, self._tables[topic], partitions, life)
        wanted = {partition: lives[partition[0]] for partition in owned}
        unmarked = self._copies.unmarked(wanted)
        committed = self.consumer.committed()
        starts = {}
        for partition in owned:
            low, end = self.consumer.limits(partition)
            start = low if partition in unmarked else committed.get(partition, low)
            # Compaction and a broken broker may move both ends; to copy a row again changes nothing.
            starts[partition] = start if low <= start <= end else low
        back = {partition: starts[partition] for partition in unmarked}
        if back:
            self.consumer.commit(back, wait=True)
            self._copies.mark({partition: wanted[partition] for partition in back})
            self._metrics.refills.inc(len(back))
        self._marks = wanted
        self.consumer.place(starts)
        log.info("reads", partitions=len(owned), from_the_beginning=len(back))

    def _work(self, records: list[Record]) -> None:
        rows: list[Row] = []
        for record in records:
            try:
                rows.append(row_of(*self._tables[record.topic], record))
            except Undecodable as error:
                self._letters.send(record, error)
                self._metrics.rows.labels(self._tables[record.topic][0], "dead_lettered").inc()
                log.warning("set aside", topic=record.topic, partition=record.partition, offset=record.offset)
        ends = {(record.topic, record.partition): record.offset + 1 for record in records}
        written = self._copies.write(rows, {partition: self._marks[partition] for partition in ends})
        self._metrics.batches.inc()
        for row, newer in zip(rows, written, strict=True):
            outcome = "older" if not newer else "deleted" if row.value is None else "written"
            self._metrics.rows.labels(row.table, outcome).inc()
        self.consumer.commit(ends)

    def _topic_ids(self, topics: list[str]) -> dict[str, str]:
        if not topics:
            return {}
        try:
            # Needed once a placement, so it does not stay: an idle client only logs that brokers come and go.
            admin = AdminClient({"bootstrap.servers": self._bootstrap}, logger=logging.getLogger("kafka"))
            asked = admin.describe_topics(TopicCollection(topics), request_timeout=DESCRIBED_WITHIN_S)
            return {topic: str(found.result(DESCRIBED_WITHIN_S + 1).topic_id) for topic, found in asked.items()}
        except (KafkaException, TimeoutError) as error:
            raise KafkaAway(f"topic ids: {error}") from None

    def _show(self) -> None:
        self._shown_at_s = time.monotonic() + METRICS_EVERY_S
        if not self.consumer.unplaced:
            # An emptied Valkey is seen also while nothing is written.
            self._copies.write([], self._marks)
        self._metrics.lag.clear()
        for (topic, partition), lag in self.consumer.lag().items():
            self._metrics.lag.labels(topic, str(partition)).set(lag)
