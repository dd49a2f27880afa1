"""Topics at start: sources must exist and agree in their partition count; changelogs are made when missing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from .errors import Misconfigured
from .restore import patiently

log = logging.getLogger(__name__)

_WAIT_S = 30.0  # for sources that somebody else is about to make
_LOOK_S = 0.2
# A persistent store may be away for half of this and still be told of each deletion; Kafka's default is a day.
TOMBSTONES_KEPT_MS = 7 * 86_400_000


def equal_partition_count(admin: Any, topics: Sequence[str], stopping: Callable[[], bool]) -> int:
    """The one partition count of the topics. Misconfigured when they differ or one stays missing."""
    deadline = time.monotonic() + _WAIT_S
    warned = False
    while True:
        found = patiently(lambda: admin.list_topics(timeout=10), stopping).topics
        missing = [name for name in topics if name not in found or found[name].error]
        if not missing:
            break
        if time.monotonic() > deadline or stopping():
            raise Misconfigured(f"source topics are missing: {', '.join(missing)}")
        if not warned:
            warned = True
            log.warning("waiting for topics: %s", ", ".join(missing))
        time.sleep(_LOOK_S)
    counts = {name: len(found[name].partitions) for name in topics}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in sorted(counts.items()))
        raise Misconfigured(f"source topics of one app must have one partition count: {listed}")
    return next(iter(counts.values()), 0)


async def declare_changelogs(app: Any, partitions: int, tables: Sequence[Any]) -> None:
    """Make missing changelogs, compacted; one with another partition count is refused."""
    if not tables or not partitions:
        return
    for table in tables:
        await app.producer.create_topic(
            table.changelog_topic_name,
            partitions,
            app.conf.topic_replication_factor,
            config={
                "cleanup.policy": "compact",
                "delete.retention.ms": TOMBSTONES_KEPT_MS,
                **table.extra_topic_configs,
            },
        )
    for table in tables:
        count = app.consumer.topic_partitions(table.changelog_topic_name)
        if count is not None and count not in (0, partitions):
            raise Misconfigured(
                f"changelog {table.changelog_topic_name} has {count} partitions, the sources have {partitions}"
            )
