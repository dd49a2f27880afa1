"""What the audit collects beside the histories: tables, databases, copies, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tally.audit.folding import Histories

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """A head row: version and status of one aggregate as its service sees it, and the snapshot itself."""

    version: int
    snapshot: Row


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A committed row of an outbox."""

    id: str
    topic: str
    aggregatetype: str
    aggregate_id: str
    version: int | None


@dataclass(frozen=True, slots=True)
class Service:
    """One service's database: heads of its own aggregate, outbox, and of payments also the heads of wallets.

    `outbox_from_ms` (Unix): rows recorded before it may have been cleaned up, as they were published.
    """

    heads: dict[str, Head] = field(default_factory=dict)
    outbox: tuple[OutboxRow, ...] = ()
    wallets: dict[str, Head] = field(default_factory=dict)
    outbox_from_ms: int = 0


@dataclass(frozen=True, slots=True)
class Books:
    """All that is compared, from about one moment.

    `tables` and `copies` are rows by table name and key; a table or service that was not looked at is absent.
    """

    histories: Histories
    services: dict[str, Service] = field(default_factory=dict)
    tables: dict[str, dict[str, Row]] = field(default_factory=dict)
    copies: dict[str, dict[str, Row]] = field(default_factory=dict)
    now_ms: int = 0
