"""One scan in a process of its own, which loads this module and no more: what a scan does not need costs its start."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from multiprocessing.sharedctypes import SynchronizedArray

from schemas.codec import AvroCodec
from tally.audit.report import Finding
from tally.fsck.scanning import Kept, Scan
from tally.reading.reader import Partition, Reader

# A process tells about twenty times a second how far it is.
TELL_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class Job:
    """One partition number of all event topics, from `starts` to `ends`."""

    bootstrap: str
    partition: int
    starts: dict[Partition, int]
    ends: dict[Partition, int]
    kept: Kept


@dataclass(frozen=True, slots=True)
class Result:
    """What a job found; `figures` are counts."""

    partition: int
    findings: list[Finding]
    figures: dict[str, int]


_done: SynchronizedArray[int]


def told_by(done: SynchronizedArray[int]) -> None:
    """Begins a process: where it tells how many records it has read, by the number of the job."""
    global _done  # a process's arguments come with its jobs, a shared array with its start
    _done = done
    # Millions of objects stay, none of them in a cycle: to look for some again and again took a tenth of the time.
    gc.disable()


def work(number: int, job: Job) -> Result:
    """Scans a job's records. Raises Unreachable."""
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
    return Result(job.partition, findings, figures)
