"""Reads a read model's topic from where a rebuild stands: a thread that fetches, decodes and folds beside the batches.

It folds what lies behind the served version, into rows that a later transaction takes as they are. The last records
before that version, which moves on meanwhile, are left to the event loop, where it stands still between two batches.
"""

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

from streams.read_models.table_of_tables import ReadModel
from streams.rebuilds.ahead import Ahead, Pairs
from streams.rebuilds.folding import Folded, fold

# Decoded and folded at once, while they are in the processor's caches.
SLICE_RECORDS_MAX = 200
# One transaction, whose length is that of its rows: live batches wait for it. A row is written once in it, however many
# events it has there, so more of them save work.
PIECE_ROWS_MAX = 12_000
# Some seconds of folding: so much is done again after a crash, and progress shows that often.
PIECE_RECORDS_MAX = 50_000
# Of rows that were read and of events. Decoded they take some eight times that, and a build holds
# PIECES_UNCOMMITTED_MAX + 1 pieces: 200 MB where rows are so large.
PIECE_BYTES_MAX = 8 << 20
# Read ahead: the next one is folded while one is committed.
PIECES_AHEAD_MAX = 1
# Once a piece was put, those ahead wait and one more may be in its transaction: of these the store knows nothing yet.
PIECES_UNCOMMITTED_MAX = PIECES_AHEAD_MAX + 1
POLL_S = 0.2
# After the first record: a transaction of many costs less than many.
GATHER_S = 0.02
PREFETCH_KBYTES = 32 * 1024
_NO_GROUP = "tally-rebuilds"

log = structlog.get_logger()

# A record's headers and value to a message, or to the reason why there is none.
Decode = Callable[[Any, bytes | None], Any]


@dataclass(slots=True)
class Place:
    """A partition to read: from which offset on, the rows to fold it into (None once the event loop is to fold), and the
    next offset that the served version will fold, None when it is not known."""

    start: int
    rows: Ahead | None
    live: Callable[[], int | None]


@dataclass(slots=True)
class Run:
    """What was read of one partition up to `next_offset`: rows that were folded already, `added` of them new, or decoded
    records in order."""

    folded: Folded = field(default_factory=Folded)
    rows: Pairs = field(default_factory=list)
    added: int = 0
    offsets: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    next_offset: int = 0

    def before(self, offset: int) -> list[Any]:
        """The values of records below an offset."""
        if self.next_offset <= offset:
            return self.values
        return self.values[: bisect_left(self.offsets, offset)]


Piece = dict[int, Run]


@dataclass(slots=True)
class Slice:
    """Decoded records of one partition in order, as one read brought them."""

    offsets: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    size_bytes: int = 0


class Inputs:
    """Pieces of the partitions in `places`; `told` is called in the thread when one is there.

    To take a piece says that the transaction of the one before has committed.
    """

    def __init__(
        self,
        client: Mapping[str, Any],
        model: ReadModel,
        places: dict[int, Place],
        decode: Decode,
        told: Callable[[], object],
    ) -> None:
        self._client, self._model, self._places = client, model, places
        self._decode, self._told = decode, told
        self._piece: Piece = {}
        self._records = self._bytes = 0
        self._pieces: queue.Queue[Piece] = queue.Queue(PIECES_AHEAD_MAX)
        self._left: queue.SimpleQueue[int] = queue.SimpleQueue()
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

    def leave(self, partition: int) -> None:
        """Reads a partition no more."""
        self._left.put(partition)

    def close(self) -> None:
        """Reads no more; the thread ends by itself."""
        self._closing.set()

    def join(self) -> None:
        """Waits for the end of a closed one."""
        self._thread.join()

    # -- thread

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
            consumer.assign([self._partition(number, place.start) for number, place in self._places.items()])
            while not self._closing.is_set():
                self._step(consumer)
        except KafkaException as error:
            log.warning("a rebuild waits for Kafka", topic=self._model.topic, error=str(error))
        finally:
            consumer.close()

    def _step(self, consumer: Consumer) -> None:
        self._leave(consumer)
        first = consumer.poll(POLL_S)
        if first is None:
            return
        found = [first, *consumer.consume(SLICE_RECORDS_MAX - 1, GATHER_S)]
        is_full = len(found) == SLICE_RECORDS_MAX
        decoded, ends = self._decoded(found)
        for number, read in decoded.items():
            self._add(number, read)
        for number, end in ends.items():
            # After its records: these may have ended a piece.
            if number in self._places:
                self._reached(number, end)
        if not is_full or self._is_enough():
            self._put()

    def _leave(self, consumer: Consumer) -> None:
        while not self._left.empty():
            number = self._left.get()
            if self._places.pop(number, None) is not None:
                consumer.incremental_unassign([self._partition(number)])

    def _decoded(self, found: list[Record]) -> tuple[dict[int, Slice], dict[int, int]]:
        """Records of each partition in order, and the ends that were met; empties `found`. Raises KafkaException for a
        fatal error.

        Behind the last record there may be markers of transactions: the end lies behind them too.
        """
        slices: dict[int, Slice] = {number: Slice() for number in self._places}
        ends: dict[int, int] = {}
        decode = self._decode
        found.reverse()
        while found:
            # Each is gone before the next is decoded, whose memory is the same then: a sixth of the thread's time.
            record = found.pop()
            number, error = record.partition() or 0, record.error()
            if error is None:
                read = slices.get(number)
                if read is not None:
                    read.offsets.append(record.offset() or 0)
                    read.values.append(decode(record.headers() or (), record.value()))
                    read.size_bytes += len(record)
            elif error.code() == KafkaError._PARTITION_EOF:
                ends[number] = record.offset() or 0
            elif is_fatal(error):
                raise KafkaException(error)
        return slices, ends

    def _add(self, number: int, read: Slice) -> None:
        if not read.values:
            return
        place, next_offset = self._places[number], read.offsets[-1] + 1
        live = place.live()
        if place.rows is not None and (live is None or live < next_offset):
            # The event loop folds from here on, into rows that must be committed then.
            self._put()
            place.rows = None
        run = self._reached(number, next_offset)
        if place.rows is not None:
            fold(self._model, place.rows, read.values, run.folded)
        else:
            run.offsets += read.offsets
            run.values += read.values
        self._records += len(read.values)
        self._bytes += read.size_bytes

    def _reached(self, number: int, next_offset: int) -> Run:
        run = self._piece.setdefault(number, Run())
        run.next_offset = max(run.next_offset, next_offset)
        return run

    def _is_enough(self) -> bool:
        # What is left to the loop is little, and holds it up: it is not gathered.
        if self._records >= PIECE_RECORDS_MAX or any(run.values for run in self._piece.values()):
            return True
        ahead = [place.rows for place in self._places.values() if place.rows is not None]
        if sum(rows.changed for rows in ahead) >= PIECE_ROWS_MAX:
            return True
        return self._bytes + sum(rows.read_bytes for rows in ahead) >= PIECE_BYTES_MAX

    def _put(self) -> None:
        piece, self._piece, self._records, self._bytes = self._piece, {}, 0, 0
        for number, run in piece.items():
            rows = self._places[number].rows
            if rows is not None:
                run.rows, run.added = rows.cut(run.folded)
        while piece and not self._closing.is_set():
            try:
                self._pieces.put(piece, timeout=POLL_S)
            except queue.Full:
                continue
            self._told()
            return

    def _partition(self, number: int, start: int = 0) -> TopicPartition:
        return TopicPartition(self._model.topic, number, start)
