"""Reads changelogs into tables: in batches, read_committed, up to the end that the topic had when it began."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from .changelogs import describe
from .errors import cause, is_fatal
from .restore_jobs import Changelog, DatabaseJob, Job
from .restore_progress import Progress
from .stats import Stats
from .table import Table
from .table_partition import TablePartition

log = logging.getLogger(__name__)

T = TypeVar("T")
_READ_AT_ONCE = 20_000
_RETRY_S = 0.1
_WARN_EVERY_S = 30.0


def restore(
    tables: Iterable[Table],
    partitions: Iterable[int],
    client: Mapping[str, Any],
    stats: Stats,
    stopping: Callable[[], bool],
) -> bool:
    """Bring the tables' partitions up to their changelogs. Blocks; meant for a thread of its own. False: broken off.

    A partition that was ours before is read from where it stood: if nobody wrote in between, that is nothing.
    """
    wanted = sorted(set(partitions))
    jobs = [_job(table, table.adopt(number)) for table in tables for number in wanted]
    if not jobs:
        return True
    progress = Progress(stats)
    config = {
        **client,
        "group.id": "restore",  # never joined: partitions are assigned by hand
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.max.bytes": 16 << 20,
        "max.partition.fetch.bytes": 4 << 20,
        "queued.max.messages.kbytes": 32_768,
        "fetch.queue.backoff.ms": 5,
        "fetch.wait.max.ms": 10,
    }
    stored = sorted({job.place[0] for job in jobs if isinstance(job, DatabaseJob)})
    changelogs = patiently(partial(describe, client, stored), stopping) if stored else {}
    unread = _find_ends(jobs, changelogs, config, stats, stopping)
    if unread and not _read(unread, config, progress, stopping):
        return False
    for job in jobs:
        job.finish()
    progress.end(len(jobs))
    return True


def _job(table: Table, into: TablePartition) -> Job:
    return Job(table, into) if into.database is None else DatabaseJob(table, into)


def _find_ends(
    jobs: list[Job],
    changelogs: Mapping[str, Changelog],
    config: Mapping[str, Any],
    stats: Stats,
    stopping: Callable[[], bool],
) -> dict[tuple[str, int], Job]:
    # The end must be the high watermark, which only a read_uncommitted consumer gets, not the last stable offset:
    # the previous owner's offsets can be visible before its marker is in the changelog partition.
    probe = Consumer({**config, "isolation.level": "read_uncommitted"}, logger=log)
    unread = {}
    try:
        for job in jobs:
            low, end = patiently(partial(_watermarks, probe, job.place), stopping)
            job.begin(end, changelogs.get(job.place[0], Changelog()))
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
    unread: dict[tuple[str, int], Job], config: Mapping[str, Any], progress: Progress, stopping: Callable[[], bool]
) -> bool:
    reader = Consumer({**config, "isolation.level": "read_committed", "enable.partition.eof": True}, logger=log)
    left = dict(unread)
    try:
        reader.assign([TopicPartition(topic, number, job.start) for (topic, number), job in left.items()])
        while left and not stopping():
            count = 0
            for message in reader.consume(_READ_AT_ONCE, 0.05):
                place = (message.topic(), message.partition())
                error = message.error()
                if error is None:
                    job = unread[place]
                    job.read[message.key()] = message.value()
                    job.last = message.offset()
                    count += 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    # An earlier EOF is the last stable offset of an open transaction: its end is yet to come.
                    if place in left and message.offset() >= left[place].end:
                        del left[place]
                elif is_fatal(error):
                    raise KafkaException(error)
                else:
                    log.warning("restore of %s[%d]: %s; reading on", *place, error)
            for job in unread.values():
                job.take_over()
            progress.read(count)
        return not left
    finally:
        reader.close()


def patiently(call: Callable[[], T], stopping: Callable[[], bool]) -> T:
    """Call until it works: a new topic has no leader yet, a broker may be away. Fatal errors are raised.

    It may wait for ever (offsets under a transaction that nobody ends, say), so it says again and again that it does.
    """
    began, warned_at = time.monotonic(), -math.inf
    while True:
        try:
            return call()
        except KafkaException as error:
            if is_fatal(cause(error)) or stopping():
                raise
            now = time.monotonic()
            if now - warned_at >= _WARN_EVERY_S:
                warned_at = now
                log.warning("%s; trying again, for %.0f s now", cause(error), now - began)
            time.sleep(_RETRY_S)
