"""Table versions and rebuilds from outside: what is served and built, asked of the topic and of the workers, and changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from getpass import getuser
from typing import Any

import httpx
from confluent_kafka import KafkaException, Producer

from schemas.codec import AvroCodec
from schemas.messages import RebuildActed
from schemas.table_versions import Versions, newest_by_name, to_value
from schemas.topics import AUDIT_TRAIL, PARTITIONS, READ_MODELS, TABLE_VERSIONS
from tally.reading import workers
from tally.reading.reader import REQUEST_TIMEOUT_S, Reader, Unreachable, whole
from tally.reading.workers import NotServed
from tally.trail import trail_record

# Comparing a million rows on a busy machine; the worker goes on with its batches meanwhile.
COMPARED_WITHIN_S = 600.0
LOOK_AGAIN_S = 0.1
# Who changes versions has this id: the second of two at once fences the first, whose change then fails.
_TRANSACTIONAL_ID = "tally-table-versions"

Row = dict[str, Any]
Turn = Callable[[Versions], Versions]


@dataclass(frozen=True, slots=True)
class Act:
    """What an operator does to the versions of a read model: its name in the audit trail, the turn, and why."""

    name: str
    turn: Turn
    reason: str


class NotInStep(Exception):
    """A build that is not, or not everywhere, at the offset of the served version."""


def versions(reader: Reader) -> dict[str, Versions]:
    """By read model, all of them. Raises Unreachable, UnknownTopic."""
    starts, ends = whole(reader, (TABLE_VERSIONS,))
    records = ((record.key, record.value) for record in reader.read(starts, ends) if record is not None)
    return {name: Versions() for name in READ_MODELS} | newest_by_name(records, READ_MODELS)


def change(bootstrap: str, name: str, act: Act) -> tuple[Versions, Versions]:
    """(before, after) an act on one read model's versions; nobody else's comes between, and the audit trail has it.

    Raises what its turn raises, and Unreachable.
    """
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": _TRANSACTIONAL_ID,
            "partitioner": "murmur2_random",
            "log_level": 0,
        }
    )
    try:
        producer.init_transactions(REQUEST_TIMEOUT_S)
        with Reader(bootstrap) as reader:
            before = versions(reader)[name]
        after = act.turn(before)
        body = RebuildActed(act.name, getuser(), act.reason, after.building or before.building or after.newest)
        key, value, headers = trail_record("rebuilds", name, body, AvroCodec())
        producer.begin_transaction()
        producer.produce(TABLE_VERSIONS, to_value(after), name.encode())
        producer.produce(AUDIT_TRAIL, value, key, headers=headers)
        producer.commit_transaction(REQUEST_TIMEOUT_S)
    except KafkaException as error:
        raise Unreachable(f"the versions of {name} were not changed: {error.args[0].str()}") from None
    return before, after


def told(found: list[workers.Worker]) -> list[Row]:
    """What each worker says: `{worker, served, builds}`. Raises NotServed."""
    if not found:
        raise NotServed("no worker runs")
    return [_ask(worker.url, "/rebuilds", {}, REQUEST_TIMEOUT_S) for worker in found]


def builds(found: list[workers.Worker], name: str | None = None) -> list[Row]:
    """Every partition of every build, or of one read model's. Raises NotServed."""
    rows = [row for each in told(found) for row in each["builds"] if name in (None, row["table"])]
    return sorted(rows, key=lambda row: (row["table"], row["partition"]))


def in_step(found: list[workers.Worker], name: str, version: int) -> list[Row]:
    """The partitions of a build, each at the offset of the served version. Raises NotInStep, NotServed."""
    rows = [row for row in builds(found, name) if row["version"] == version]
    if len(rows) < PARTITIONS:
        raise NotInStep(f"workers tell of {len(rows)} of {PARTITIONS} partitions of version {version} of {name}")
    behind = [row for row in rows if not row["in_step"]]
    if behind:
        left = sum((row["live_offset"] or 0) - row["next_offset"] for row in behind)
        raise NotInStep(f"version {version} of {name} is {left} records behind in {len(behind)} partitions")
    return rows


def diff(found: list[workers.Worker], name: str, version: int, rows_max: int) -> Iterator[Row]:
    """Each partition compared by its owner at one batch boundary. Raises NotInStep, NotServed."""
    urls = {row["worker"]: worker.url for worker, row in zip(found, told(found), strict=True)}
    for row in in_step(found, name, version):
        asked = {"partition": row["partition"], "rows": rows_max}
        yield _ask(urls[row["worker"]], f"/rebuilds/{name}/diff", asked, COMPARED_WITHIN_S)


def until(is_so: Callable[[], bool], within_s: float) -> bool:
    """Asks until it is so; whether it came true in time. A worker that is just being started again is waited for."""
    ends_at_s = time.monotonic() + within_s
    while True:
        try:
            if is_so():
                return True
        except NotServed:
            pass
        if time.monotonic() > ends_at_s:
            return False
        time.sleep(LOOK_AGAIN_S)


def _ask(url: str, path: str, params: dict[str, int], within_s: float) -> Row:
    try:
        answer = httpx.get(f"{url}{path}", params=params, timeout=within_s)
    except httpx.TransportError as error:
        raise NotServed(f"worker at {url} does not answer: {error}") from None
    if answer.status_code == 409:
        raise NotInStep(answer.json()["detail"])
    if answer.status_code != 200:
        raise NotServed(f"worker at {url} answers {answer.status_code} to {path} just now")
    found: Row = answer.json()
    return found
