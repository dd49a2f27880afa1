"""Runs the scans: one process for each partition number, so that a machine's cores all count.

What disagrees only because it was on its way is gone on a second look: so findings count that every round has.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import SynchronizedArray

import psycopg

from schemas.codec import AvroCodec
from schemas.histories import Sum
from schemas.partitioning import partition_of
from schemas.topics import EVENT_TOPICS, PARTITIONS
from tally.audit.collecting import CONNECT_TIMEOUT_S, SourceUnreachable
from tally.audit.report import Finding, Report
from tally.fsck.rows import TABLES, Row, aggregate_of
from tally.fsck.scanning import GATED_BY_SERVICE, Head, Kept, Scan
from tally.reading import workers
from tally.reading.reader import Partition, Reader, UnknownTopic
from tally.reading.workers import NotServed

# One process holds a partition's heads, rows and 8 bytes for each event; a scan is bound by the processor.
PROCESSES_MAX = 4
ROUNDS_MAX = 3
PAUSE_S = 2.0
# A person who waits wants to see that it goes on; a process tells about twenty times a second how far it is.
SAY_EVERY_S = 2.0
TELL_EVERY = 1_000
INDEXED = tuple(topic.removesuffix(".events") for topic in EVENT_TOPICS)
_HEADS = (
    "select aggregatetype, aggregateid, version, snapshot, snapshot_version from heads where aggregatetype = any(%s)"
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where everything is; `databases` by service; `tables` False leaves the workers' tables out."""

    kafka: str
    databases: dict[str, str] = field(default_factory=dict)
    tables: bool = True


@dataclass(frozen=True, slots=True)
class _Job:
    bootstrap: str
    partition: int
    starts: dict[Partition, int]
    ends: dict[Partition, int]
    kept: Kept


@dataclass(frozen=True, slots=True)
class _Result:
    partition: int
    findings: list[Finding]
    figures: dict[str, int]


def fsck(sources: Sources, topic_faults: Callable[[], list[Finding]], say: Say = lambda _: None) -> Report:
    """The verdict over all event topics and what else holds their state.

    `topic_faults` looks at the topics' settings. Raises Unreachable, UnknownTopic, SourceUnreachable.
    """
    began = time.monotonic()
    lasting, figures = _round(sources, topic_faults, say)
    for _ in range(ROUNDS_MAX - 1):
        if not lasting:
            break
        say(f"{len(lasting)} findings; looking again in {PAUSE_S:.0f} s at what may have been on its way")
        time.sleep(PAUSE_S)
        again, figures = _round(sources, topic_faults, say)
        lasting &= again
    return Report(tuple(sorted(lasting)), {**figures, "seconds": round(time.monotonic() - began, 1)})


def _round(
    sources: Sources, topic_faults: Callable[[], list[Finding]], say: Say
) -> tuple[set[Finding], dict[str, int | float]]:
    findings = topic_faults()
    heads = [row for service, url in sources.databases.items() for row in _heads(service, url)]
    rows: list[tuple[str, str, Row]] | None = None
    indexed: dict[str, dict[int, Sum]] = {}
    if sources.tables:
        try:
            owners = workers.find(sources.kafka)
            rows = [(table, row["key"], row["value"]) for table in TABLES for row in workers.scan(owners, table)]
            indexed = {kind: workers.history_sums(owners, kind) for kind in INDEXED}
        except NotServed as error:
            findings.append(Finding("tables-agree", "workers", f"{error}; start the workers, or say --no-tables"))
    jobs = _jobs(sources, heads, rows)
    for job in jobs:
        job.kept.indexed.update(
            {
                kind: by_partition[job.partition]
                for kind, by_partition in indexed.items()
                if job.partition in by_partition
            }
        )
    figures: dict[str, int | float] = dict.fromkeys(("records", "aggregates", "snapshots", "rows", "indexed"), 0)
    for result in _results(jobs, say):
        findings += result.findings
        for name, figure in result.figures.items():
            figures[name] += figure
    return set(findings), figures


def _results(jobs: list[_Job], say: Say) -> Iterator[_Result]:
    """Scans all partitions at once, and says now and then how far they are."""
    offsets = sum(end - job.starts[place] for job in jobs for place, end in job.ends.items())
    # A fresh interpreter each: a fork of a process that has threads of librdkafka would hang.
    context = multiprocessing.get_context("spawn")
    done = context.Array("Q", len(jobs))
    with ProcessPoolExecutor(min(PROCESSES_MAX, len(jobs)), context, _told_by, (done,)) as pool:
        waiting = {pool.submit(_scan, number, job) for number, job in enumerate(jobs)}
        while waiting:
            ended, waiting = wait(waiting, SAY_EVERY_S, FIRST_COMPLETED)
            for future in ended:
                result = future.result()
                said = f"partition {result.partition}: {result.figures['records']} records"
                say(f"{said} ({len(jobs) - len(waiting)} of {len(jobs)})")
                yield result
            if not ended:
                say(f"{sum(done[:])} records read, at most {offsets} in all")


def _jobs(
    sources: Sources, heads: Iterable[tuple[str, str, Head]], rows: list[tuple[str, str, Row]] | None
) -> list[_Job]:
    gated = frozenset(kind for service in sources.databases for kind in GATED_BY_SERVICE.get(service, ()))
    kept = [Kept({}, None if rows is None else {table: {} for table in TABLES}, gated) for _ in range(PARTITIONS)]
    for kind, id_, head in heads:
        kept[partition_of(id_.encode(), PARTITIONS)].heads[kind, id_] = head
    for table, key, row in rows or ():
        held = kept[partition_of(aggregate_of(table, key).encode(), PARTITIONS)].rows
        assert held is not None
        held[table][key] = row
    with Reader(sources.kafka) as reader:
        places = [(topic, number) for topic in topics_there(reader) for number in reader.partitions(topic)]
        bounds = {place: reader.bounds(place) for place in places}
    jobs = []
    # Numbers beyond PARTITIONS belong to a topic that grew: they are scanned too, and nothing may lie there.
    for number in sorted({number for _, number in places}):
        mine = {place: bounds[place] for place in places if place[1] == number}
        starts = {place: low for place, (low, _) in mine.items()}
        ends = {place: high for place, (_, high) in mine.items()}
        jobs.append(_Job(sources.kafka, number, starts, ends, kept[number] if number < PARTITIONS else Kept()))
    return jobs


def topics_there(reader: Reader) -> list[str]:
    """The event topics that are there."""
    found = []
    for topic in EVENT_TOPICS:
        try:
            reader.partitions(topic)
        except UnknownTopic:
            continue
        found.append(topic)
    return found


_done: SynchronizedArray[int]


def _told_by(done: SynchronizedArray[int]) -> None:
    """Begins a process: where it tells how many records it has read, by the number of the job."""
    global _done  # a process's arguments come with its jobs, a shared array with its start
    _done = done


def _scan(number: int, job: _Job) -> _Result:
    scan = Scan(AvroCodec(), job.partition, job.kept)
    with Reader(job.bootstrap) as reader:
        for record in reader.read(job.starts, job.ends):
            if record is not None:
                scan.take(record)
                if scan.records % TELL_EVERY == 0:
                    _done[number] = scan.records
    findings = scan.finish()
    figures = {
        "records": scan.records,
        "aggregates": scan.aggregates,
        "snapshots": scan.snapshots,
        "rows": scan.compared_rows,
        "indexed": scan.indexed,
    }
    return _Result(job.partition, findings, figures)


def _heads(service: str, url: str) -> list[tuple[str, str, Head]]:
    kinds = GATED_BY_SERVICE.get(service, ())
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            rows = connection.execute(_HEADS, (list(kinds),)).fetchall()
    except psycopg.Error as error:
        raise SourceUnreachable(f"the database of {service} cannot be read: {str(error).splitlines()[0]}") from None
    return [(kind, id_, Head(version, snapshot, form)) for kind, id_, version, snapshot, form in rows]
