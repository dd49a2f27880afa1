"""Which worker owns a partition, as Kafka's own group metadata says."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka.admin import AdminClient
from confluent_kafka.error import KafkaException

# A worker names itself `tally-worker-<index>@<host>:<port>`; the address is where its queries are answered.
_CLIENT_ID = re.compile(r"tally-worker-(?P<index>\d+)@(?P<address>[^@\s]+:\d+)")
# Longer than a burst of reads, shorter than anybody notices; a wrong owner says so itself, and we ask anew.
FRESH_S = 1.5
DESCRIBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who owns what: address (`host:port`) by partition, and all addresses in the order of the workers' indexes."""

    by_partition: Mapping[int, str]
    workers: tuple[str, ...]


class Owners(Protocol):
    """Where rows are to be asked for."""

    async def find(self, *, anew: bool = False) -> Ownership:
        """The owners as known, or as Kafka says now. Raises OwnersUnknown."""


class OwnersUnknown(Exception):
    """Kafka did not say who the workers are."""


class KafkaOwners:
    """Owners from the metadata of the workers' consumer group, kept for FRESH_S."""

    def __init__(self, admin: AdminClient, group: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._admin, self._group, self._clock = admin, group, clock
        self._known, self._known_at = Ownership({}, ()), float("-inf")
        self._asking = asyncio.Lock()

    async def find(self, *, anew: bool = False) -> Ownership:
        """See `Owners.find`; many callers at once ask Kafka once."""
        asked_at = self._clock()
        async with self._asking:
            stale_before = asked_at if anew else asked_at - FRESH_S
            if self._known_at < stale_before or not self._known.workers:
                self._known = await asyncio.to_thread(self._describe)
                self._known_at = self._clock()
            return self._known

    def _describe(self) -> Ownership:
        try:
            futures = self._admin.describe_consumer_groups([self._group], request_timeout=DESCRIBE_TIMEOUT_S)
            described = futures[self._group].result(DESCRIBE_TIMEOUT_S + 1)
        except (KafkaException, TimeoutError) as error:
            why = error.args[0].str() if isinstance(error, KafkaException) else "timed out"
            raise OwnersUnknown(f"Kafka does not say which worker owns what: {why}") from error
        return ownership_of(described.members)


def ownership_of(members: list[Any]) -> Ownership:
    """Ownership from the members of a consumer group (confluent-kafka's MemberDescription).

    All input topics have one partition count and partition n of each is on one worker, so any of them tells.
    """
    by_partition: dict[int, str] = {}
    workers: dict[int, str] = {}
    for member in members:
        named = _CLIENT_ID.match(member.client_id or "")
        if named is None:
            continue
        workers[int(named["index"])] = named["address"]
        for assigned in member.assignment.topic_partitions if member.assignment else ():
            by_partition[assigned.partition] = named["address"]
    return Ownership(by_partition, tuple(address for _, address in sorted(workers.items())))
