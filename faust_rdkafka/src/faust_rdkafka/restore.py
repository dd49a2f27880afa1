"""Reads changelogs into tables: in batches, read_committed, up to the end that the topic had when it began."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from .errors import cause
from .stats import Stats
from .table import Table
from .table_partition import TablePartition

log = logging.getLogger(__name__)

T = TypeVar("T")
_READ_AT_ONCE = 20_000
_RETRY_S = 0.1


@dataclass
class _Job:
    """One changelog partition to read: from behind the last offset known to the end at the start."""

    table: Table
    into: TablePartition
    end: int = 0
    rows: dict[bytes, bytes | None] = field(default_factory=dict)
    last: int = -1

    @property
    def place(self) -> tuple[str, int]:
        return self.table.changelog_topic_name, self.into.number

    @property
    def start(self) -> int:
        known = self.into.changelog_offset
        return known + 1 if known >= 0 else OFFSET_BEGINNING

    def finish(self) -> None:
        keys, values = self.table.key_codec.loads, self.table.value_codec.loads
        self.into.fill({keys(k): None if v is None else values(v) for k, v in self.rows.items()}, self.last)
        self.rows.clear()


def restore(
    tables: Iterable[Table],
    partitions: Iterable[int],
    client: Mapping[str, Any],
    stats: Stats,
    stopping: Callable[[], bool],
) -> None:
    """Bring the tables' partitions up to their changelogs. Blocks; meant for a thread of its own.

    A partition that was ours before is read from where it stood: if nobody wrote in between, that is nothing.
    """
    wanted = sorted(set(partitions))
    jobs = [_Job(table, table.adopt(number)) for table in tables for number in wanted]
    if not jobs:
        return
    began = time.monotonic()
    stats.restoring, stats.restore_records, stats.restore_total = True, 0, 0
    config = {
        **client,
        "group.id": "restore",  # never joined: partitions are assigned by hand
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.max.bytes": 64 << 20,
        "max.partition.fetch.bytes": 16 << 20,
        "queued.max.messages.kbytes": 262_144,
        "fetch.queue.backoff.ms": 5,
        "fetch.wait.max.ms": 10,
    }
    unread = _find_ends(jobs, config, stats, stopping)
    if unread:
        _read(unread, config, stats, stopping)
    for job in jobs:
        job.finish()
    stats.restoring = False
    took_s = time.monotonic() - began
    stats.restore_s += took_s
    log.info("restored %d changelog records of %d partitions in %.2f s", stats.restore_records, len(jobs), took_s)


def _find_ends(
    jobs: list[_Job], config: Mapping[str, Any], stats: Stats, stopping: Callable[[], bool]
) -> dict[tuple[str, int], _Job]:
    # The end must be the high watermark, which only a read_uncommitted consumer gets, not the last stable offset:
    # the previous owner's offsets can be visible before its marker is in the changelog partition.
    probe = Consumer({**config, "isolation.level": "read_uncommitted"}, logger=log)
    unread = {}
    try:
        for job in jobs:
            low, job.end = patiently(partial(_watermarks, probe, job.place), stopping)
            if job.end > max(low, job.start):
                unread[job.place] = job
                stats.restore_total += job.end - max(low, job.start)
    finally:
        probe.close()
    return unread


def _watermarks(probe: Any, place: tuple[str, int]) -> tuple[int, int]:
    low, high = probe.get_watermark_offsets(TopicPartition(*place), timeout=10)
    return low, high


def _read(
    unread: dict[tuple[str, int], _Job], config: Mapping[str, Any], stats: Stats, stopping: Callable[[], bool]
) -> None:
    reader = Consumer({**config, "isolation.level": "read_committed", "enable.partition.eof": True}, logger=log)
    left = dict(unread)
    try:
        reader.assign([TopicPartition(topic, number, job.start) for (topic, number), job in left.items()])
        while left and not stopping():
            for message in reader.consume(_READ_AT_ONCE, 0.05):
                place = (message.topic(), message.partition())
                error = message.error()
                if error is None:
                    stats.restore_records += 1
                    job = unread[place]
                    job.rows[message.key()] = message.value()
                    job.last = message.offset()
                elif error.code() == KafkaError._PARTITION_EOF:
                    # An earlier EOF is the last stable offset of an open transaction: its end is yet to come.
                    if place in left and message.offset() >= left[place].end:
                        del left[place]
                elif error.fatal():
                    raise KafkaException(error)
                else:
                    log.warning("restore of %s[%d]: %s; reading on", *place, error)
    finally:
        reader.close()


def patiently(call: Callable[[], T], stopping: Callable[[], bool]) -> T:
    """Call until it works: a new topic has no leader yet, a broker may be away. Fatal errors are raised."""
    warned = False
    while True:
        try:
            return call()
        except KafkaException as error:
            if cause(error).fatal() or stopping():
                raise
            if not warned:
                warned = True
                log.warning("%s; trying again", cause(error))
            time.sleep(_RETRY_S)
