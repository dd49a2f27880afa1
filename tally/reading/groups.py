"""How far consumer groups are behind the ends of their topics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tally.reading.reader import REQUEST_TIMEOUT_S, Partition, Reader, Unreachable, committed

# Markers of transactions hold offsets too: a group that has read everything still seems to stand a few behind.
# Up to this many offsets are read to see how many records they are; beyond it the difference does not matter.
COUNTED_OFFSETS_MAX = 100


@dataclass(frozen=True, slots=True)
class Lag:
    """One partition of one group; `lag` is in records, exact while it is small."""

    group: str
    topic: str
    partition: int
    committed: int
    end: int
    lag: int


def names(bootstrap: str) -> list[tuple[str, str]]:
    """(group, state) of every group. Raises Unreachable."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        listed = admin.list_consumer_groups(request_timeout=REQUEST_TIMEOUT_S).result()
    except KafkaException as error:
        raise Unreachable(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}") from None
    if listed.errors:
        raise Unreachable(f"Kafka at {bootstrap} does not answer: {listed.errors[0].str()}")
    return sorted((group.group_id, group.state.name) for group in listed.valid)


def lags(bootstrap: str, groups: list[str] | None = None) -> list[Lag]:
    """Lag of every partition that the groups (all by default) have committed. Raises Unreachable."""
    asked = [name for name, _ in names(bootstrap)] if groups is None else groups
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    offsets = {group: committed(admin, group) for group in asked}
    with Reader(bootstrap) as reader:
        ends = {place: reader.bounds(place)[1] for place in {p for places in offsets.values() for p in places}}
        found = []
        for group, places in offsets.items():
            exact = _count(reader, places, ends)
            for place, offset in sorted(places.items()):
                behind = exact.get(place, max(ends[place] - offset, 0))
                found.append(Lag(group, *place, offset, ends[place], behind))
    return found


def _count(reader: Reader, starts: dict[Partition, int], ends: dict[Partition, int]) -> dict[Partition, int]:
    """How many records lie between, for partitions where little does."""
    near = {place: start for place, start in starts.items() if 0 < ends[place] - start <= COUNTED_OFFSETS_MAX}
    counts: Counter[Partition] = Counter()
    for record in reader.read(near, {place: ends[place] for place in near}):
        if record is not None:
            counts[record.topic, record.partition] += 1
    return {place: counts[place] for place in near}
