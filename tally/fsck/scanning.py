"""One partition of the event topics, read from end to end: what its own records break, and who disagrees with them.

Heads and rows are read before the topics' ends are taken. So a topic is never behind what was compared with it but by
records on their way, and each is compared at the version that it states, when the fold passes that version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from producers.orders.aggregate import ORDERS
from producers.payments.aggregate import payment_aggregate
from producers.store.deciding import Aggregate
from producers.wallets.aggregate import WALLETS
from schemas.codec import Codec
from schemas.envelope import Envelope, Message
from schemas.errors import Undecodable
from schemas.histories import Sum, to_row
from schemas.partitioning import partition_of
from schemas.records import decode_record
from schemas.topics import PARTITIONS
from tally.audit.report import Finding
from tally.fsck.rows import Rows, RowsByTable
from tally.reading.reader import Record

Row = dict[str, Any]
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
_DIGEST_BYTES = 8
_UNSEEN = bytes(_DIGEST_BYTES)


@dataclass(frozen=True, slots=True)
class Head:
    """A head row: version and snapshot with the version of its form."""

    version: int
    snapshot: Row
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


@dataclass(slots=True)
class _History:
    """What is kept of one aggregate: 8 bytes of each event, zeros where a version lacked."""

    digests: bytearray = field(default_factory=bytearray)
    broken: bool = False

    @property
    def version(self) -> int:
        return len(self.digests) // _DIGEST_BYTES

    def digest(self, version: int) -> bytes:
        return bytes(self.digests[(version - 1) * _DIGEST_BYTES : version * _DIGEST_BYTES])


class Scan:
    """Takes the records of one partition number of all event topics, in order within each; then `finish`."""

    def __init__(self, codec: Codec, partition: int, kept: Kept) -> None:
        self._codec, self._partition, self._kept = codec, partition, kept
        self._histories: dict[Key, _History] = {}
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
        return len(self._histories)

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
        place = f"{record.topic}/{record.partition}/{record.offset}"
        if self._sums:
            self._add_up(record)
        try:
            message = decode_record(record.headers, record.value, self._codec)
        except Undecodable as error:
            self._say("records-are-readable", place, error.reason)
            return
        envelope = message.envelope
        of = f"{envelope.aggregatetype}/{envelope.subject}"
        if record.key != envelope.subject.encode() or record.topic != f"{envelope.aggregatetype}.events":
            self._say("keys-are-subjects", place, f"holds an event of {of} under another key or topic")
        elif not self._belongs(envelope, record):
            self._say("keys-are-subjects", place, f"{of} does not belong into this partition")
        if envelope.version is None or envelope.version < 1:
            self._say("versions-are-dense", place, f"an event of {of} without a version")
        elif self._comes_next(message, record, of):
            self._fold(message)

    def finish(self) -> list[Finding]:
        """All findings, with what else holds state and the topics do not."""
        for (kind, id_), head in self._kept.heads.items():
            history = self._histories.get((kind, id_))
            version = 0 if history is None else history.version
            if version < head.version:
                self._say("heads-agree", f"{kind}/{id_}", f"the head is at {head.version}, the topic at {version}")
        for kind, id_ in self._histories:
            if kind in self._kept.gated and (kind, id_) not in self._kept.heads:
                self._say("heads-agree", f"{kind}/{id_}", "has events and no head row")
        if self._rows is not None:
            self._rows.finish({key for key, history in self._histories.items() if history.broken})
        for kind, there in self._kept.indexed.items():
            here = self._sums[kind]
            if (here.events, here.digest) != (there.events, there.digest):
                place = f"{kind}.events/{self._partition}"
                told = f"the index holds {there.events} events, the topic {here.events} before offset {here.until}"
                self._say("index-agrees", place, told if here.events != there.events else f"{told}; they differ")
        return self.findings

    def _belongs(self, envelope: Envelope, record: Record) -> bool:
        """Whether the record lies where its key hashes to; for a history that was seen here it is known already."""
        key = (envelope.aggregatetype, envelope.subject)
        if record.partition != self._partition or key not in self._histories:
            if partition_of(envelope.subject.encode(), PARTITIONS) == record.partition:
                return True
            self._strangers.add(key)
        return key not in self._strangers

    def _add_up(self, record: Record) -> None:
        """As the index does it: undecoded, and of two events under one version the first."""
        try:
            envelope = Envelope.from_headers(record.headers)
            row = to_row(record.partition, record.offset, record.headers, record.value or b"")
        except Undecodable:
            return
        kind, version = envelope.aggregatetype, envelope.version
        if version is None or kind not in self._sums:
            return
        history = self._histories.get((kind, envelope.subject))
        if history is None or version > history.version or history.digest(version) == _UNSEEN:
            self._sums[kind].add(row)

    def _comes_next(self, message: Message, record: Record, of: str) -> bool:
        envelope = message.envelope
        history = self._histories.setdefault((envelope.aggregatetype, envelope.subject), _History())
        version, seen = envelope.version or 0, history.version
        content = envelope.id.encode() + (record.value or b"")
        digest = blake2b(content, digest_size=_DIGEST_BYTES).digest()
        place = f"{of}@{version}"
        if version == seen + 1:
            history.digests += digest
            return not history.broken
        if version <= seen and history.digest(version) == digest:
            self._say(
                "published-once", place, f"stands again at offset {record.offset} of partition {record.partition}"
            )
            return False
        # From here on the fold of this history says nothing.
        history.broken = True
        if version > seen:
            self._say("versions-are-dense", of, f"version {seen + 1} lacks before version {version}")
            history.digests += _UNSEEN * (version - seen - 1) + digest
        elif history.digest(version) == _UNSEEN:
            self._say("versions-are-dense", place, f"stands behind version {seen}")
        else:
            self._say("histories-do-not-fork", place, f"another event stands at offset {record.offset}")
        return False

    def _fold(self, message: Message) -> None:
        envelope = message.envelope
        key = (envelope.aggregatetype, envelope.subject)
        head = self._kept.heads.get(key)
        if head is not None and (envelope.version or 0) <= head.version:
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
            same = aggregate.form.load(head.snapshot, head.snapshot_version) == state
        except (LookupError, TypeError, ValueError) as error:
            self._say("snapshots-are-folds", "/".join(key), f"the snapshot cannot be read: {error}")
            return
        if not same:
            self._say("snapshots-are-folds", "/".join(key), f"the snapshot at version {head.version} is not the fold")

    def _say(self, check: str, place: str, message: str) -> None:
        self.findings.append(_finding(check, place, message))


def _finding(check: str, place: str, message: str) -> Finding:
    return Finding(check, place, f"{message}; {REMEDY[check]}")


def _aggregate(kind: str, id_: str) -> Aggregate[Any]:
    if kind == "wallets":
        return WALLETS
    return ORDERS if kind == "orders" else payment_aggregate(id_)


# Whose expected versions a database gates, by the service that has it.
GATED_BY_SERVICE = {"orders": ("orders",), "payments": ("payments", "wallets")}
