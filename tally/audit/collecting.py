"""Collects the books: topics read on from where the last round stopped, tables, databases and copies read anew."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import psycopg
import redis

from schemas.codec import AvroCodec
from schemas.topics import (
    DEAD_LETTERS,
    INVENTORY_EVENTS,
    ORDERS_EVENTS,
    PAYMENTS_EVENTS,
    READ_MODELS,
    SAGAS_EVENTS,
    SAGAS_REPLIES,
    WALLETS_EVENTS,
)
from tally.audit.expected import EXPECTED
from tally.audit.folding import Histories
from tally.audit.views import Books, Head, OutboxRow, Row, Service
from tally.reading import workers
from tally.reading.reader import Partition, Reader, whole

TOPICS = (ORDERS_EVENTS, PAYMENTS_EVENTS, WALLETS_EVENTS, INVENTORY_EVENTS, SAGAS_EVENTS, SAGAS_REPLIES, DEAD_LETTERS)
SERVICES = ("orders", "payments")
CONNECT_TIMEOUT_S = 10
COPIES_AT_ONCE = 1_000

_HEADS = "select aggregatetype, aggregateid, version, snapshot from heads"
# Messages of the last moments are under way to Kafka; the rounds of the audit give them their time.
_OUTBOX = "select id::text, topic, aggregatetype, aggregateid, version from outbox"
# Rounded up: a record's time has no more than milliseconds.
_CLEANED_BEFORE = "select ceil(extract(epoch from max(cleaned_before)) * 1000)::bigint from outbox_progress"


class SourceUnreachable(Exception):
    """A database or the copies could not be read; the message names which."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the books are kept; `databases` by service, `redis_url` None where there are no copies."""

    kafka: str
    databases: dict[str, str]
    redis_url: str | None


class Collector:
    """Collects books round after round; a context manager's worth of one Reader, closed by `close`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._reader = Reader(sources.kafka)
        self._next: dict[Partition, int] = {}
        self.histories = Histories(AvroCodec())

    def close(self) -> None:
        """Gives the reader back."""
        self._reader.close()

    def collect(self) -> Books:
        """The books of about now: databases first, so that what they hold can be in the topics by the end."""
        services = {name: _service(name, url) for name, url in self._sources.databases.items()}
        copies = {} if self._sources.redis_url is None else read_copies(self._sources.redis_url)
        owners = workers.find(self._sources.kafka)
        tables = {name: {row["key"]: row["value"] for row in workers.scan(owners, name)} for name in EXPECTED}
        self._read_on()
        return Books(self.histories, services, tables, copies, round(time.time() * 1_000))

    def _read_on(self) -> None:
        starts, ends = whole(self._reader, TOPICS)
        for record in self._reader.read({place: self._next.get(place, low) for place, low in starts.items()}, ends):
            if record is not None:
                self.histories.take(record)
        self._next = ends


def read_copies(url: str) -> dict[str, dict[str, Row]]:
    """Every copy in Valkey, by table and key. Raises SourceUnreachable."""
    found: dict[str, dict[str, Row]] = {}
    try:
        with redis.Redis.from_url(url, socket_timeout=CONNECT_TIMEOUT_S, decode_responses=True) as client:
            for name in READ_MODELS:
                prefix = f"tally:{name}:"
                keys = list(client.scan_iter(match=f"{prefix}*", count=COPIES_AT_ONCE))
                rows: dict[str, Row] = {}
                for start in range(0, len(keys), COPIES_AT_ONCE):
                    some = keys[start : start + COPIES_AT_ONCE]
                    with client.pipeline(transaction=False) as pipe:
                        for key in some:
                            pipe.hget(key, "value")
                        values = pipe.execute()
                    rows |= {
                        key.removeprefix(prefix): json.loads(value)
                        for key, value in zip(some, values, strict=True)
                        if value is not None
                    }
                found[name] = rows
    except redis.RedisError as error:
        raise SourceUnreachable(f"Valkey does not answer: {error}") from None
    return found


def _service(name: str, url: str) -> Service:
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            # One snapshot for both: a head and its rows are changed together.
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            heads: dict[str, dict[str, Head]] = {}
            for aggregatetype, aggregate_id, version, snapshot in connection.execute(_HEADS):
                heads.setdefault(aggregatetype, {})[aggregate_id] = Head(version, _parsed(snapshot))
            outbox = tuple(OutboxRow(*row) for row in connection.execute(_OUTBOX))
            cleaned = connection.execute(_CLEANED_BEFORE).fetchone()
    except psycopg.Error as error:
        raise SourceUnreachable(f"the database of {name} cannot be read: {str(error).splitlines()[0]}") from None
    outbox_from_ms = 0 if cleaned is None or cleaned[0] is None else int(cleaned[0])
    return Service(heads.get(name, {}), outbox, heads.get("wallets", {}), outbox_from_ms)


def _parsed(snapshot: Any) -> Row:
    parsed: Row = json.loads(snapshot) if isinstance(snapshot, str) else snapshot
    return parsed
