"""Reads a read model's topic from where a rebuild stands: a thread that fetches and decodes beside the batches."""

from __future__ import annotations

import queue
import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as Record
from faust_rdkafka.errors import is_fatal

# Together the records of one transaction: a tenth of a second of the event loop, which sees to others after each
# partition, and a commit whose price hardly depends on how many they are.
PIECE_RECORDS_MAX = 8_000
# Read ahead: the next ones are decoded while one is committed.
PIECES_AHEAD_MAX = 2
POLL_S = 0.2
# After the first record: a transaction of many costs less than many.
GATHER_S = 0.02
PREFETCH_KBYTES = 32 * 1024
_NO_GROUP = "tally-rebuilds"

log = structlog.get_logger()

# A record's headers and value to a message, or to the reason why there is none.
Decode = Callable[[Any, bytes | None], Any]


@dataclass(slots=True)
class Run:
    """What was read of one partition: decoded records in order, and the offset behind all that was read."""

    offsets: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    next_offset: int = 0

    def before(self, offset: int) -> list[Any]:
        """The values of records below an offset."""
        if self.next_offset <= offset:
            return self.values
        return self.values[: bisect_left(self.offsets, offset)]


Piece = dict[int, Run]


class Inputs:
    """Pieces of the partitions in `starts` (next offset each); `told` is called in the thread when one is there."""

    def __init__(
        self, client: Mapping[str, Any], topic: str, starts: Mapping[int, int], decode: Decode, told: Callable[[], None]
    ) -> None:
        self._client, self._topic, self._starts = client, topic, dict(starts)
        self._decode, self._told = decode, told
        self._pieces: queue.Queue[Piece] = queue.Queue(PIECES_AHEAD_MAX)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rebuild", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the thread gave up; another one is to go on."""
        return not self._thread.is_alive()

    def take(self) -> Piece | None:
        """The next piece, if there is one."""
        try:
            return self._pieces.get_nowait()
        except queue.Empty:
            return None

    @property
    def more(self) -> bool:
        """Whether a further piece is there."""
        return not self._pieces.empty()

    def close(self) -> None:
        """Reads no more; the thread ends by itself."""
        self._closing.set()

    def join(self) -> None:
        """Waits for the end of a closed one."""
        self._thread.join()

    def _run(self) -> None:
        consumer = Consumer(
            {
                **self._client,
                "group.id": _NO_GROUP,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "queued.max.messages.kbytes": PREFETCH_KBYTES,
                "fetch.queue.backoff.ms": 5,
            }
        )
        try:
            consumer.assign([TopicPartition(self._topic, number, start) for number, start in self._starts.items()])
            while not self._closing.is_set():
                self._step(consumer)
        except KafkaException as error:
            log.warning("a rebuild waits for Kafka", topic=self._topic, error=str(error))
        finally:
            consumer.close()

    def _step(self, consumer: Consumer) -> None:
        first = consumer.poll(POLL_S)
        if first is None:
            return
        piece: Piece = {}
        records: dict[int, list[Record]] = {}
        for record in [first, *consumer.consume(PIECE_RECORDS_MAX - 1, GATHER_S)]:
            error = record.error()
            if error is None:
                records.setdefault(record.partition() or 0, []).append(record)
            elif error.code() == KafkaError._PARTITION_EOF:
                # Behind the last record there may be markers of transactions: the end lies behind them too.
                piece[record.partition() or 0] = Run(next_offset=record.offset() or 0)
            elif is_fatal(error):
                raise KafkaException(error)
        for number, read in records.items():
            run = piece.setdefault(number, Run())
            run.offsets = [record.offset() or 0 for record in read]
            run.values = [self._decode(record.headers() or (), record.value()) for record in read]
            run.next_offset = max(run.next_offset, run.offsets[-1] + 1)
        self._put(piece)

    def _put(self, piece: Piece) -> None:
        while piece and not self._closing.is_set():
            try:
                self._pieces.put(piece, timeout=POLL_S)
            except queue.Full:
                continue
            self._told()
            return
