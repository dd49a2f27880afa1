"""What was read and waits to become a batch: records by partition, in part decoded already."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Message
from faust.types import TP

from .records import BatchSchema


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one partition as one call brought them; `values` is None when they were not decoded ahead."""

    tp: TP
    messages: list[Message]
    values: list[Any] | None


@dataclass(slots=True)
class Gathered:
    """Records of one assignment, ready to become a batch."""

    records: dict[TP, list[Message]] = field(default_factory=dict)
    # Decoded ahead in the fetch thread, index by index with `records`; a partition is absent when one of its records
    # could not be, and is decoded at delivery then, where dead letters are made.
    values: dict[TP, list[Any]] = field(default_factory=dict)
    ends: dict[TP, int] = field(default_factory=dict)  # next offset at the end of a partition, past markers
    count: int = 0
    size_bytes: int = 0
    since: float = 0.0  # monotonic seconds, when the first record came

    def add(self, run: Run, size_bytes: int) -> None:
        if not self.count:
            self.since = time.monotonic()
        found = self.records.get(run.tp)
        if found is None:
            self.records[run.tp] = run.messages
            if run.values is not None:
                self.values[run.tp] = run.values
        else:
            found.extend(run.messages)
            known = self.values.get(run.tp)
            if known is not None:
                if run.values is None:
                    del self.values[run.tp]
                else:
                    known.extend(run.values)
        self.count += len(run.messages)
        self.size_bytes += size_bytes


def by_partition(messages: Sequence[Message]) -> tuple[dict[TP, list[Message]], list[Message]]:
    """Records by partition in order, and the messages that are none: errors and ends of partitions."""
    groups: dict[TP, list[Message]] = {}
    others: list[Message] = []
    topic: str | None = None
    partition: int | None = None
    add = others.append
    for message in messages:
        if message.error() is not None:
            others.append(message)
            continue
        # They come in runs of one partition: two comparisons in place of a key and a look-up for each.
        if message.partition() != partition or message.topic() != topic:
            topic, partition = message.topic(), message.partition()
            add = groups.setdefault(TP(topic, partition), []).append
        add(message)
    return groups, others


def decoded(tp: TP, messages: list[Message], decoders: Mapping[TP, BatchSchema]) -> Run:
    """The records with their values, where the partition has one decoder and none of them is refused."""
    schema = decoders.get(tp)
    return Run(tp, messages, None if schema is None else schema.decode_all(messages))


def size_of(messages: Sequence[Message]) -> int:
    """Bytes of keys and values."""
    return sum(map(len, messages)) + sum([len(m.key() or b"") for m in messages])
