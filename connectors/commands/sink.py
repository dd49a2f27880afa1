"""The command sink's loop: read a batch, work it in one transaction, show the offsets; begin anew where positions say."""

from __future__ import annotations

import time
from threading import Event

import structlog

from connectors.commands import parked, positions
from connectors.commands.acts import Acts
from connectors.commands.attempt import Attempts
from connectors.commands.batch import Batches, Worked
from connectors.commands.config import SinkConfig
from connectors.commands.database import Away, batch_transaction, connect
from connectors.commands.handler import CommandHandler, Connection
from connectors.commands.letters import Letters
from connectors.commands.metrics import SinkMetrics
from connectors.commands.positions import PositionMoved
from connectors.consuming import ConsumingError, KafkaAway, PlacedConsumer, Record
from connectors.probes import Health
from connectors.stepping import step_until
from schemas.codec import Codec

log = structlog.get_logger(__name__)

METRICS_EVERY_S = 1.0


class PositionAhead(ConsumingError):
    """The database knows more of a topic than the topic holds: it was made anew, or has lost records."""

    def __init__(self, topic: str, partition: int, position: int, end: int) -> None:
        super().__init__(
            f"{topic}/{partition} ends at {end}, but the database has worked it up to {position}: "
            "the topic was made anew or lost records; restore it, or remove the row of sink_positions"
        )


class CommandSink:
    """One sink. `run` works until `stop` is set; it waits without end for a database or a broker that is away.

    Raises `connectors.consuming.Fenced` and `PositionAhead`: then this process must not go on.
    """

    passing = (Away, PositionMoved, KafkaAway)

    def __init__(self, config: SinkConfig, handler: CommandHandler, codec: Codec, metrics: SinkMetrics) -> None:
        self._config, self._metrics = config, metrics
        self.restarts = metrics.restarts
        letters = Letters(config.service, codec)
        self._batches = Batches(config, Attempts(config.service, handler, codec), letters)
        self._acts = Acts(config, letters)
        self.consumer = PlacedConsumer(config.consumer_group)
        self._connection: Connection | None = None
        # Next offset by partition, as the database has it as far as we know; of commands, and of acts on dead letters.
        self._expected: dict[int, int] = {}
        self._expected_acts: dict[int, int] = {}
        self._parked_rows, self._is_full = 0, False
        self._retry_at_s = self._shown_at_s = 0.0

    def run(self, stop: Event, health: Health) -> None:
        """See the class."""
        try:
            step_until(stop, self, health)
        finally:
            self._disconnect()
            self.consumer.close()

    def step(self) -> None:
        """One batch, and what falls due between batches."""
        if self.consumer.unplaced:
            self._place()
        self._hold_at_the_bound()
        records = self.consumer.gather(self._config.bounds)
        if commands := [record for record in records if record.topic == self._config.topic]:
            self._work(commands)
        if acts := [record for record in records if record.topic == self._config.acts_topic]:
            self._act(acts)
        if self._parked_rows and self._expected and not self.consumer.unplaced and time.monotonic() >= self._retry_at_s:
            self._retry()
        if time.monotonic() >= self._shown_at_s:
            self._show()

    def _hold_at_the_bound(self) -> None:
        """At the bound what comes next stays in Kafka until parked commands are worked, or discarded by a person."""
        is_full = self._parked_rows >= self._config.parked.rows_max
        self.consumer.hold(is_full, self._config.topic)
        if is_full and not self._is_full:
            log.error("paused: as much waits as may wait", topic=self._config.topic, parked=self._parked_rows)
        self._is_full = is_full
        self._metrics.paused.set(is_full)

    def _place(self) -> None:
        connection, topic = self._connected(), self._config.topic
        owned = self.consumer.owned
        partitions = [partition for name, partition in owned if name == topic]
        with batch_transaction(connection):
            found = positions.read(connection, topic, partitions)
            acts_topic = self._config.acts_topic
            acts = positions.read(connection, acts_topic, [p for name, p in owned if name == acts_topic])
            self._parked_rows = parked.waiting(connection, topic, partitions).rows
        starts = {(topic, partition): self._start(topic, partition, at) for partition, at in found.items()}
        starts |= {(acts_topic, partition): self._start(acts_topic, partition, at) for partition, at in acts.items()}
        self.consumer.place(starts)
        self._expected, self._expected_acts = found, acts
        log.info("reads", topic=topic, positions=found, parked=self._parked_rows)

    def _start(self, topic: str, partition: int, position: int) -> int:
        low, end = self.consumer.limits((topic, partition))
        if position > end:
            raise PositionAhead(topic, partition, position, end)
        if position < low:
            # Retention passed us by; what it deleted cannot be worked any more, and this line says so.
            log.error("commands expired", topic=topic, partition=partition, position=position, low=low)
        return max(position, low)

    def _work(self, records: list[Record]) -> None:
        fresh = [record for record in records if record.offset >= self._expected[record.partition]]
        if not fresh:
            return
        with self._metrics.batch_seconds.time():
            worked = self._batches.work(self._connected(), self._expected, fresh)
        ends = {record.partition: record.offset + 1 for record in fresh}
        self._expected.update(ends)
        self._count(worked)
        self._metrics.batches.inc()
        # For display only: what counts is the position row.
        self.consumer.commit({(self._config.topic, partition): end for partition, end in ends.items()})

    def _act(self, records: list[Record]) -> None:
        fresh = [record for record in records if record.offset >= self._expected_acts[record.partition]]
        if fresh:
            self._parked_rows = self._acts.work(self._connected(), self._expected_acts, fresh)
            ends = {record.partition: record.offset + 1 for record in fresh}
            self._expected_acts.update(ends)
            self.consumer.commit({(self._config.acts_topic, partition): end for partition, end in ends.items()})

    def _retry(self) -> None:
        self._retry_at_s = time.monotonic() + self._config.parked.every_s
        self._count(self._batches.retry(self._connected(), self._expected))

    def _count(self, worked: Worked) -> None:
        for outcome, count in worked.outcomes.items():
            self._metrics.commands.labels(outcome.value).inc(count)
        self._parked_rows = worked.parked_rows

    def _show(self) -> None:
        self._shown_at_s = time.monotonic() + METRICS_EVERY_S
        self._metrics.parked_rows.set(self._parked_rows)
        self._metrics.lag.clear()
        for (topic, partition), lag in self.consumer.lag().items():
            self._metrics.lag.labels(topic, str(partition)).set(lag)

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            config = self._config
            self._connection = connect(config.database_url, f"sink-{config.service}", config.lock_timeout_ms)
        return self._connection

    def forget(self, reason: Exception) -> None:
        """What may be wrong now: positions are read again, after a lost database on another connection."""
        self._expected, self._expected_acts = {}, {}
        if isinstance(reason, Away):
            # Whether its last commit was kept is not known on this connection; the positions tell on the next.
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
