"""Options of the outbox connector: Debezium's EventRouter options by our names, checked when they are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from connectors.outbox.errors import BadOption
from connectors.outbox.refused import LetterRecord, Refusal

_SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}")
_CONNECTOR_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")
_JAVA_GROUP = re.compile(r"\(\?<(?=[A-Za-z])")
_JAVA_REFERENCE = re.compile(r"\$(?:\{([A-Za-z][A-Za-z0-9]*)\}|(\d))")


@dataclass(frozen=True, slots=True)
class DebeziumPlacement:
    """One entry of `table.fields.additional.placement`: a column that becomes a header or the record's partition."""

    column: str
    place: Literal["header", "partition"]
    alias: str

    @classmethod
    def parse(cls, entry: str) -> DebeziumPlacement:
        """`column:header[:alias]` or `column:partition`. Raises BadOption."""
        parts = [part.strip() for part in entry.split(":")]
        if len(parts) not in (2, 3) or not all(parts):
            raise BadOption(f"placement {entry!r} is not column:header[:alias] or column:partition")
        place = parts[1].lower()
        if place == "envelope":
            raise BadOption(f"placement {entry!r}: envelope is not supported")
        if place == "header":
            return cls(parts[0], "header", parts[-1] if len(parts) == 3 else parts[0])
        if place == "partition":
            return cls(parts[0], "partition", parts[0])
        raise BadOption(f"placement {entry!r}: {parts[1]!r} is neither header nor partition")

    @classmethod
    def parse_list(cls, entries: str) -> tuple[DebeziumPlacement, ...]:
        """Entries between commas, white space allowed."""
        return tuple(cls.parse(entry) for entry in entries.split(",") if entry.strip())


@dataclass(frozen=True, slots=True)
class Routing:
    """How a row becomes a record. Defaults are those of Debezium's EventRouter.

    `null_headers`: a column that is null becomes a header with a null value (Debezium) or no header (False).
    `timestamp_field`: timestamp or timestamptz column for the record's timestamp; None, or null in the row: the time of sending.
    """

    id_field: str = "id"
    key_field: str = "aggregateid"
    payload_field: str = "payload"
    timestamp_field: str | None = None
    placements: tuple[DebeziumPlacement, ...] = ()
    missing_field: Literal["error", "ignore"] = "error"
    route_by_field: str = "aggregatetype"
    route_regex: str = "(?<routedByValue>.*)"
    route_replacement: str = "outbox.event.${routedByValue}"
    tombstone_on_empty_payload: bool = False
    invalid_operation: Literal["warn", "error", "fatal"] = "warn"
    null_headers: bool = True

    def __post_init__(self) -> None:
        if sum(placement.place == "partition" for placement in self.placements) > 1:
            raise BadOption("more than one column is placed as partition")
        try:
            self.pattern().sub(self.template(), "")
        except (re.error, IndexError) as wrong:
            raise BadOption(f"route {self.route_regex!r} -> {self.route_replacement!r}: {wrong}") from None

    def pattern(self) -> re.Pattern[str]:
        """`route_regex`, which is written in Java's style, as Python's."""
        return re.compile(_JAVA_GROUP.sub("(?P<", self.route_regex))

    def template(self) -> str:
        """`route_replacement`, which is written in Java's style, as Python's."""
        escaped = self.route_replacement.replace("\\", "\\\\")
        return _JAVA_REFERENCE.sub(lambda match: rf"\g<{match[1] or match[2]}>", escaped)

    def columns(self) -> dict[str, bool]:
        """Columns that the rules read, in a fixed order -> whether a table without it is refused."""
        wanted = {self.id_field: True, self.route_by_field: True, self.payload_field: True, self.key_field: False}
        if self.timestamp_field is not None:
            wanted[self.timestamp_field] = True
        for placement in self.placements:
            wanted.setdefault(placement.column, self.missing_field == "error")
        return wanted


@dataclass(frozen=True, slots=True)
class Window:
    """When a batch (one Kafka transaction) is closed: at the first commit beyond one of these.

    `rest_ms` between two small batches halves the cost and the tail of a trickle; `pause_ms` before the next read
    under load lets the server send more at once; a read of fewer rows than `busy_rows` counts as no load.
    A database transaction larger than `part_rows_max` or `part_bytes_max` is published in several batches, so that none
    outlasts Kafka's time-out; readers see such a one in parts.
    """

    rows_max: int = 10_000
    bytes_max: int = 8 * 1024 * 1024
    age_ms: float = 60
    rest_ms: float = 4
    pause_ms: float = 3
    busy_rows: int = 100
    part_rows_max: int = 100_000
    part_bytes_max: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OutboxConfig:
    """Everything that one connector needs.

    `publication` "" means `<slot>_pub`. `snapshot` "initial": rows that are in the table at the very first start are sent;
    they are read in the order of the columns `snapshot_order`, or as they lie.
    `kafka` holds further librdkafka options (security, compression). `record_bytes_max` caps a record beside the topic's own limit.
    `resume` is the way on where a start would be refused, and changes nothing elsewhere: "slot" goes on where the slot is
    (what lies before it is not sent, or sent again), "republish" starts as for the first time.
    `dead_letter` makes the record for a row that Kafka can never take; without it such a row stops the connector.
    `takeover_wait_s` is how long a predecessor's hold on the slot is waited for; None: the server's wal_sender_timeout and 5 s.
    """

    name: str
    source_url: str
    bootstrap: str
    table: str
    slot: str
    publication: str = ""
    routing: Routing = field(default_factory=Routing)
    window: Window = field(default_factory=Window)
    snapshot: Literal["initial", "no_data"] = "initial"
    snapshot_order: tuple[str, ...] = ()
    create_topics: bool = False
    dead_letter_topic: str = "dead-letters"
    dead_letter: Callable[[Refusal], LetterRecord] | None = None
    forget_position: bool = False
    resume: Literal["slot", "republish"] | None = None
    kafka: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    record_bytes_max: int = 8 * 1024 * 1024
    transaction_timeout_ms: int = 120_000
    advance_every_s: float = 3
    takeover_wait_s: float | None = None

    def __post_init__(self) -> None:
        if not _SLOT_NAME.fullmatch(self.slot):
            raise BadOption(f"slot {self.slot!r}: lower-case letters, digits and _ only, at most 63")
        if not _CONNECTOR_NAME.fullmatch(self.name):
            raise BadOption(f"connector name {self.name!r}: letters, digits and . _ - only, at most 200")
        if len(self.table.split(".")) > 2 or not all(self.table.split(".")):
            raise BadOption(f"table {self.table!r} is not schema.table")
        if not self.publication:
            object.__setattr__(self, "publication", f"{self.slot}_pub")

    @property
    def schema_and_table(self) -> tuple[str, str]:
        """Schema (`public` if none was given) and name of the outbox table."""
        schema, _, name = self.table.rpartition(".")
        return schema or "public", name

    @property
    def positions_topic(self) -> str:
        """The compacted topic of one partition that holds this connector's position."""
        return f"connect-outbox-{self.name}-offsets"

    @property
    def transactional_id(self) -> str:
        """Kafka fences by this: one live process a name."""
        return f"outbox-{self.name}"
