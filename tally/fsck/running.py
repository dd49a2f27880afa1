"""Runs the scans: a process for each core, each takes one partition number after another.

What disagrees only because it was on its way is gone on a second look: so findings count that every round has.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace

import orjson

from schemas.partitioning import partition_of
from schemas.topics import EVENT_TOPICS, PARTITIONS
from tally.audit.report import Finding, Report
from tally.fsck.heads import heads
from tally.fsck.rows import TABLES, KeptRow, RowsByTable, aggregate_of
from tally.fsck.scanning import GATED_BY_SERVICE, Kept
from tally.fsck.working import Job, Result, told_by, work
from tally.reading import workers
from tally.reading.reader import Reader, UnknownTopic
from tally.reading.workers import NotServed, Worker

# One process holds a partition's heads, rows and 8 bytes for each event; a scan is bound by the processor.
PROCESSES_MAX = 4
ROUNDS_MAX = 3
PAUSE_S = 2.0
# A person who waits wants to see that it goes on.
SAY_EVERY_S = 2.0
INDEXED = tuple(topic.removesuffix(".events") for topic in EVENT_TOPICS)
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where everything is; `databases` by service; `tables` False leaves the workers' tables out."""

    kafka: str
    databases: dict[str, str] = field(default_factory=dict)
    tables: bool = True


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
    kept = _with_heads(sources)
    if sources.tables:
        try:
            owners = workers.find(sources.kafka)
            kept = _with_rows(kept, owners)
            kept = _with_sums(kept, owners)
        except NotServed as error:
            findings.append(Finding("tables-agree", "workers", f"{error}; start the workers, or say --no-tables"))
    jobs = _jobs(sources, kept)
    figures: dict[str, int | float] = dict.fromkeys(("records", "aggregates", "snapshots", "rows", "indexed"), 0)
    for result in _results(jobs, say):
        findings += result.findings
        for name, figure in result.figures.items():
            figures[name] += figure
    return set(findings), figures


def _results(jobs: list[Job], say: Say) -> Iterator[Result]:
    """Scans all partitions at once, and says now and then how far they are."""
    offsets = sum(end - job.starts[place] for job in jobs for place, end in job.ends.items())
    # A fresh interpreter each: a fork of a process that has threads of librdkafka would hang.
    context = multiprocessing.get_context("spawn")
    done = context.Array("Q", len(jobs))
    processes = min(PROCESSES_MAX, os.cpu_count() or 1, len(jobs))
    with ProcessPoolExecutor(processes, context, told_by, (done,)) as pool:
        waiting = {pool.submit(work, number, job) for number, job in enumerate(jobs)}
        while waiting:
            ended, waiting = wait(waiting, SAY_EVERY_S, FIRST_COMPLETED)
            for future in ended:
                result = future.result()
                said = f"partition {result.partition}: {result.figures['records']} records"
                say(f"{said} ({len(jobs) - len(waiting)} of {len(jobs)})")
                yield result
            if not ended:
                say(f"{sum(done[:])} records read, at most {offsets} in all")


def _with_heads(sources: Sources) -> list[Kept]:
    """The head rows, by partition number."""
    gated = frozenset(kind for service in sources.databases for kind in GATED_BY_SERVICE.get(service, ()))
    kept = [Kept(gated=gated) for _ in range(PARTITIONS)]
    for service, url in sources.databases.items():
        for key, head in heads(service, url):
            kept[partition_of(key[1].encode(), PARTITIONS)].heads[key] = head
    return kept


def _with_rows(kept: list[Kept], owners: list[Worker]) -> list[Kept]:
    """The same with the rows of the workers' tables. Raises NotServed."""
    rows: list[RowsByTable] = [{table: {} for table in TABLES} for _ in kept]
    for table in TABLES:
        for row in workers.scan(owners, table):
            key, value = row["key"], row["value"]
            number = partition_of(aggregate_of(table, key).encode(), PARTITIONS)
            # A copy: what orjson gives holds on to the 4 KB that it was written in.
            rows[number][table][key] = KeptRow(value["version"], b"%b" % orjson.dumps(value))
    return [replace(each, rows=held) for each, held in zip(kept, rows, strict=True)]


def _with_sums(kept: list[Kept], owners: list[Worker]) -> list[Kept]:
    """The same with what the workers' indexes of histories come to. Raises NotServed."""
    sums = {kind: workers.history_sums(owners, kind) for kind in INDEXED}
    return [
        replace(each, indexed={kind: there[number] for kind, there in sums.items() if number in there})
        for number, each in enumerate(kept)
    ]


def _jobs(sources: Sources, kept: list[Kept]) -> list[Job]:
    with Reader(sources.kafka) as reader:
        places = [(topic, number) for topic in topics_there(reader) for number in reader.partitions(topic)]
        bounds = {place: reader.bounds(place) for place in places}
    jobs = []
    # Numbers beyond PARTITIONS belong to a topic that grew: they are scanned too, and nothing may lie there.
    for number in sorted({number for _, number in places}):
        mine = {place: bounds[place] for place in places if place[1] == number}
        starts = {place: low for place, (low, _) in mine.items()}
        ends = {place: high for place, (_, high) in mine.items()}
        jobs.append(Job(sources.kafka, number, starts, ends, kept[number] if number < PARTITIONS else Kept()))
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
