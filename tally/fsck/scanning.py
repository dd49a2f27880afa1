"""One partition of the event topics, read from end to end: what its own records break, and who disagrees with them.

Heads and rows are read before the topics' ends are taken. So a topic is never behind what was compared with it but by
records on their way, and each is compared at the version that it states, when the fold passes that version.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from producers.orders.aggregate import ORDERS
from producers.payments.aggregate import payment_aggregate
from producers.store.deciding import Aggregate
from producers.store.snapshots import SnapshotForm
from producers.wallets.aggregate import WALLETS
from schemas.codec import Codec
from schemas.envelope import Envelope, Message
from schemas.errors import Undecodable
from schemas.histories import Sum, to_row
from schemas.partitioning import partition_of
from schemas.records import decode_body
from schemas.topics import PARTITIONS
from tally.audit.report import Finding
from tally.fsck.rows import Rows, RowsByTable
from tally.reading.reader import Record

Key = tuple[str, str]

TABLES_AGREE = "tables-agree"
REMEDY = {
    "records-are-readable": "find who wrote it (`tally consume TOPIC -p N -o OFFSET -n 1`); readers hold at it",
    "keys-are-subjects": "find who wrote it; readers of one key miss it: copy the topic to a new one without it",
    "versions-are-dense": "if the outbox still holds the event: `tally outbox redrive`; else restore the topic",
    "published-once": "readers drop repeats; find the producer that is not idempotent",
    "histories-do-not-fork": "two writers had one aggregate: stop both, decide which history stands, copy the topic",
    "heads-agree": "is the connector behind? `tally outbox status`; else the row or the topic was changed by hand",
    "snapshots-are-folds": "rebuild the head row from its history",
    TABLES_AGREE: "is the worker behind? `tally groups lag`; else rebuild the table",
    "index-agrees": "stop the worker that owns the partition, remove its folder of histories, start it: it indexes anew",
    "topics-keep-all": "set it back at once; what is gone comes back from a backup only",
}
# Where a version lacked; no digest of an event is this, for `hash` never gives -1.
_UNSEEN = -1


class Head(NamedTuple):
    """A head row: version, and the snapshot, still in JSON, with the version of its form."""

    version: int
    snapshot: str | None
    snapshot_version: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What else holds state of this partition: head rows by (type, id), rows by table and key.

    `gated` are the types whose database was read; None for the rows of all tables where no worker serves them.
    `indexed` is what the worker's index of histories comes to, by type.
    """

    heads: dict[Key, Head] = field(default_factory=dict)
    rows: RowsByTable | None = None
    gated: frozenset[str] = frozenset()
    indexed: dict[str, Sum] = field(default_factory=dict)


class Scan:
    """Takes the records of one partition number of all event topics, in order within each; then `finish`."""

    def __init__(self, codec: Codec, partition: int, kept: Kept) -> None:
        self._codec, self._partition, self._kept = codec, partition, kept
        # Of each aggregate 8 bytes an event: by version, from 1.
        self._digests: dict[Key, array[int]] = {}
        self._broken: set[Key] = set()
        self._states: dict[Key, Any] = {}
        self._strangers: set[Key] = set()
        self._rows = (
            None if kept.rows is None else Rows(kept.rows, lambda place, what: self._say(TABLES_AGREE, place, what))
        )
        self._sums = {kind: Sum(each.until) for kind, each in kept.indexed.items()}
        self.findings: list[Finding] = []
        self.records = self.snapshots = 0

    @property
    def aggregates(self) -> int:
        """How many histories were seen."""
        return len(self._digests)

    @property
    def indexed(self) -> int:
        """How many events were compared with the index."""
        return sum(each.events for each in self._sums.values())

    @property
    def compared_rows(self) -> int:
        """How many rows of tables were compared with their histories."""
        return 0 if self._rows is None else self._rows.compared

    def take(self, record: Record) -> None:
        """Looks at one record."""
        self.records += 1
        try:
            envelope = Envelope.from_headers(record.headers)
            if self._sums:
                self._add_up(envelope, record)
            body = decode_body(envelope, record.value, self._codec)
        except Undecodable as error:
            self._say("records-are-readable", _place(record), error.reason)
            return
        key = envelope.aggregatetype, envelope.subject
        if record.key != envelope.subject.encode() or record.topic != f"{envelope.aggregatetype}.events":
            self._say("keys-are-subjects", _place(record), f"holds an event of {_name(key)} under another key or topic")
        elif not self._belongs(key, record):
            self._say("keys-are-subjects", _place(record), f"{_name(key)} does not belong into this partition")
        if envelope.version is None or envelope.version < 1:
            self._say("versions-are-dense", _place(record), f"an event of {_name(key)} without a version")
        elif self._comes_next(key, envelope, record):
            self._fold(key, Message.read(envelope, body))

    def finish(self) -> list[Finding]:
        """All findings, with what else holds state and the topics do not."""
        for (kind, id_), head in self._kept.heads.items():
            version = len(self._digests.get((kind, id_), ()))
            if version < head.version:
                self._say("heads-agree", f"{kind}/{id_}", f"the head is at {head.version}, the topic at {version}")
        for kind, id_ in self._digests:
            if kind in self._kept.gated and (kind, id_) not in self._kept.heads:
                self._say("heads-agree", f"{kind}/{id_}", "has events and no head row")
        if self._rows is not None:
            self._rows.finish(self._broken)
        for kind, there in self._kept.indexed.items():
            here = self._sums[kind]
            if (here.events, here.digest) != (there.events, there.digest):
                place = f"{kind}.events/{self._partition}"
                told = f"the index holds {there.events} events, the topic {here.events} before offset {here.until}"
                self._say("index-agrees", place, told if here.events != there.events else f"{told}; they differ")
        return self.findings

    def _belongs(self, key: Key, record: Record) -> bool:
        """Whether the record lies where its key hashes to; of one with a history or a head here it is known already."""
        if record.partition != self._partition or not (key in self._digests or key in self._kept.heads):
            if partition_of(key[1].encode(), PARTITIONS) == record.partition:
                return True
            self._strangers.add(key)
        return key not in self._strangers

    def _add_up(self, envelope: Envelope, record: Record) -> None:
        """As the index does it: undecoded, and of two events under one version the first."""
        kind, version = envelope.aggregatetype, envelope.version
        if version is None or kind not in self._sums:
            return
        digests = self._digests.get((kind, envelope.subject))
        if digests is None or version > len(digests) or (version > 0 and digests[version - 1] == _UNSEEN):
            self._sums[kind].add(to_row(record.partition, record.offset, record.headers, record.value or b""))

    def _comes_next(self, key: Key, envelope: Envelope, record: Record) -> bool:
        digests = self._digests.get(key)
        if digests is None:
            digests = self._digests[key] = array("q")
        version, seen = envelope.version or 0, len(digests)
        digest = hash((envelope.id, record.value))
        if version == seen + 1:
            digests.append(digest)
            return key not in self._broken
        place = f"{_name(key)}@{version}"
        if version <= seen and digests[version - 1] == digest:
            self._say(
                "published-once", place, f"stands again at offset {record.offset} of partition {record.partition}"
            )
            return False
        # From here on the fold of this history says nothing.
        self._broken.add(key)
        if version > seen:
            self._say("versions-are-dense", _name(key), f"version {seen + 1} lacks before version {version}")
            digests.extend([_UNSEEN] * (version - seen - 1))
            digests.append(digest)
        elif digests[version - 1] == _UNSEEN:
            self._say("versions-are-dense", place, f"stands behind version {seen}")
        else:
            self._say("histories-do-not-fork", place, f"another event stands at offset {record.offset}")
        return False

    def _fold(self, key: Key, message: Message) -> None:
        head = self._kept.heads.get(key)
        if head is not None and (message.envelope.version or 0) <= head.version:
            self._fold_state(key, head, message)
        if self._rows is not None:
            self._rows.fold(message)

    def _fold_state(self, key: Key, head: Head, message: Message) -> None:
        aggregate = _aggregate(*key)
        state = aggregate.evolve(self._states.get(key, aggregate.initial), message.body)
        if message.envelope.version != head.version:
            self._states[key] = state
            return
        self._states.pop(key, None)
        self.snapshots += 1
        try:
            same = _is_snapshot_of(head, aggregate.form, state)
        except (LookupError, TypeError, ValueError) as error:
            self._say("snapshots-are-folds", _name(key), f"the snapshot cannot be read: {error}")
            return
        if not same:
            self._say("snapshots-are-folds", _name(key), f"the snapshot at version {head.version} is not the fold")

    def _say(self, check: str, place: str, message: str) -> None:
        self.findings.append(_finding(check, place, message))


def _is_snapshot_of(head: Head, form: SnapshotForm[Any], state: Any) -> bool:
    snapshot: Any = None if head.snapshot is None else orjson.loads(head.snapshot)
    # Written by this very form, as nearly all are: to compare what is written takes a quarter of loading it.
    if head.snapshot_version == form.version and snapshot == form.to_json(state):
        return True
    loaded: bool = form.load(snapshot, head.snapshot_version) == state
    return loaded


def _place(record: Record) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def _name(key: Key) -> str:
    return "/".join(key)


def _finding(check: str, place: str, message: str) -> Finding:
    return Finding(check, place, f"{message}; {REMEDY[check]}")


def _aggregate(kind: str, id_: str) -> Aggregate[Any]:
    if kind == "wallets":
        return WALLETS
    return ORDERS if kind == "orders" else payment_aggregate(id_)


# Whose expected versions a database gates, by the service that has it.
GATED_BY_SERVICE = {"orders": ("orders",), "payments": ("payments", "wallets")}
