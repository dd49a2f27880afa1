"""The transport's own settings, and the librdkafka configurations made from them."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import Misconfigured
from .records import DeadLetter

PROTOCOLS = ("classic", "consumer")


@dataclass(frozen=True, slots=True)
class Options:
    """What App takes beside Faust's settings; the README says what each means."""

    instance: str | None = None
    client_id: str | None = None
    # 6,000 took the broker 1.1 to 2 times the CPU a record, and the worker 1.03 to 1.05 times (measured).
    batch_records_max: int = 12_000
    batch_bytes_max: int = 8 << 20
    batch_linger_ms: float = 0
    # An open transaction holds back read_committed readers, so a dead worker's must end soon;
    # a batch's own transaction lasts milliseconds.
    transaction_timeout_ms: int = 10_000
    session_timeout_ms: int = 6_000
    store_cache_rows: int = 50_000  # decoded rows that a partition of a persistent table keeps in memory
    # "consumer" is KIP-848: the broker assigns and sets the session time-out, members are dynamic.
    group_protocol: str = "classic"
    dead_letter: DeadLetter | None = None
    librdkafka: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.group_protocol not in PROTOCOLS:
            raise Misconfigured(f"group_protocol is {self.group_protocol!r}, not one of {', '.join(PROTOCOLS)}")

    def overrides(self, role: str) -> dict[str, Any]:
        """The user's librdkafka settings for `consumer` or `producer`; a role in front limits a setting to it."""
        found = {}
        for name, value in self.librdkafka.items():
            head, _, rest = name.partition(".")
            if head == role:
                found[rest] = value
            elif head not in ("consumer", "producer"):
                found[name] = value
        return found


def client_config(options: Options, bootstrap: str, client_id: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": bootstrap,
        "client.id": options.client_id or client_id,
        # A broker that comes back is found within a second, not after librdkafka's default of up to ten.
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 1000,
        # librdkafka 2.16 forgets its brokers when all are down ("rebootstrap"), the transaction coordinator is not
        # mapped to the new handle, and every call times out for ever although the broker is back, as tried.
        "metadata.recovery.strategy": "none",
    }


def consumer_config(options: Options, client: Mapping[str, Any], group: str) -> dict[str, Any]:
    return {
        **client,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,  # positions move past transaction markers by it
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 500,  # the broker answers at the first record; idle fetches cost processor time
        "topic.metadata.refresh.fast.interval.ms": 50,  # topics made a moment ago are found at once
        "fetch.queue.backoff.ms": 5,
        "fetch.error.backoff.ms": 20,
        # Several batches; librdkafka adds twice a small record's size and keeps an answer until its last record is read.
        "queued.max.messages.kbytes": 6144,
        "max.partition.fetch.bytes": 512 << 10,
        **_membership(options),
        **options.overrides("consumer"),
    }


def _membership(options: Options) -> dict[str, Any]:
    """Partition n of every topic on one worker: of the classic assignors only range keeps that, and KIP-848's does."""
    if options.group_protocol == "consumer":
        # No static membership: after a kill -9 the broker refuses the id until the old member has timed out, as tried.
        return {"group.protocol": "consumer", "group.remote.assignor": "range"}
    return {
        "partition.assignment.strategy": "range",
        "session.timeout.ms": options.session_timeout_ms,
        "heartbeat.interval.ms": max(options.session_timeout_ms // 6, 200),
        **({"group.instance.id": options.instance} if options.instance is not None else {}),
    }


def producer_config(options: Options, client: Mapping[str, Any], app_id: str) -> dict[str, Any]:
    slot = options.instance if options.instance is not None else f"{socket.gethostname()}-{os.getpid()}"
    return {
        **client,
        "transactional.id": f"{app_id}-{slot}",
        "transaction.timeout.ms": options.transaction_timeout_ms,
        "partitioner": "murmur2_random",  # as Java clients; librdkafka's default is CRC32
        # The commit flushes, and a flush waits for no linger: so a transaction's records leave in one request a
        # partition, and not in as many as the producing thread was slow. A half of the broker's work.
        "linger.ms": 50,
        # The first produce of a transaction is refused (CONCURRENT_TRANSACTIONS) while the last one's markers are
        # written; with the default back-off of 100 ms each small transaction would take 40-100 ms.
        "retry.backoff.ms": 2,
        "retry.backoff.max.ms": 10,
        "queue.buffering.max.messages": 1_000_000,
        "queue.buffering.max.kbytes": 1 << 20,
        "batch.num.messages": 10_000,
        "batch.size": 1 << 20,
        **options.overrides("producer"),
    }
