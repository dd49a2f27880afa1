"""Options of the outbox connector: Debezium's EventRouter options by our names, checked when they are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from connectors.outbox.errors import BadOption
from connectors.outbox.java_regex import java_router
from connectors.outbox.kinds import TypeModes
from connectors.outbox.polling.options import Polling
from connectors.outbox.refused import LetterRecord, Refusal

RECORD_BYTES_MAX = 8 * 1024 * 1024
# Ten years: who wants to keep rows longer does not clean up.
KEEP_S_MAX = 3_650 * 86_400

_SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}")
_TABLE = re.compile(r'(?:(?P<schema>[^."]+|"(?:[^"]|"")+")\.)?(?P<name>[^."]+|"(?:[^"]|"")+")')
_CONNECTOR_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")

# A schema and a table in it, as PostgreSQL stores their names.
TableName = tuple[str, str]
InvalidOperationRule = Literal["warn", "error", "fatal"]
JsonMembers = Literal["keep", "ignore"]


@dataclass(frozen=True, slots=True)
class DebeziumPlacement:
    """One entry of `table.fields.additional.placement`: a column that becomes a header, part of the value, or the partition."""

    column: str
    place: Literal["header", "envelope", "partition"]
    alias: str

    @classmethod
    def parse(cls, entry: str) -> DebeziumPlacement:
        """`column:header[:alias]`, `column:envelope[:alias]` or `column:partition`. Raises BadOption."""
        parts = [part.strip() for part in entry.split(":")]
        if len(parts) not in (2, 3) or not all(parts):
            raise BadOption(f"placement {entry!r} is not column:header|envelope[:alias] or column:partition")
        place, alias = parts[1].lower(), parts[2] if len(parts) == 3 else parts[0]
        if place == "header":
            return cls(parts[0], "header", alias)
        if place == "envelope":
            return cls(parts[0], "envelope", alias)
        if place == "partition":
            return cls(parts[0], "partition", parts[0])
        raise BadOption(f"placement {entry!r}: {parts[1]!r} is none of header, envelope and partition")

    @classmethod
    def parse_list(cls, entries: str) -> tuple[DebeziumPlacement, ...]:
        """Entries between commas, white space allowed."""
        return tuple(cls.parse(entry) for entry in entries.split(",") if entry.strip())


@dataclass(frozen=True, slots=True)
class Form:
    """How a key, a value or the headers are written, by Kafka Connect's converters.

    "plain": StringConverter, SimpleHeaderConverter, ByteArrayConverter (texts as they are, bytes as they are);
    "json": JsonConverter, with `schemas` each in an envelope of its schema; others: big-endian numbers.
    """

    kind: Literal["plain", "json", "int16", "int32", "int64", "float", "double", "boolean"] = "plain"
    schemas: bool = False


@dataclass(frozen=True, slots=True)
class Rename:
    """A topic's new name if `regex` (in Java's style) matches its old one as a whole: Kafka's RegexRouter."""

    regex: str
    replacement: str

    def __post_init__(self) -> None:
        self.compiled()

    def compiled(self) -> Callable[[str], str]:
        """The rule as a function. Raises BadOption."""
        return java_router(self.regex, self.replacement)


@dataclass(frozen=True, slots=True)
class Routing:
    """How a row becomes a record. Defaults are those of Debezium's EventRouter.

    `null_headers`: a column that is null becomes a header with a null value (Debezium) or no header (False).
    `timestamp_field`: column for the record's timestamp (timestamp, timestamptz, or a bigint of Unix milliseconds);
    None, or null in the row: the time of sending.
    `expand_json`: with a JSON value form, a payload that is a JSON text becomes JSON instead of a string that holds JSON;
    `json_nulls` and `json_empty_arrays` leave such members out of it if they are "ignore".
    `schema_prefix` and `schema_version_field` only name the schema of an envelope. `renames` follow on the route.
    """

    id_field: str = "id"
    key_field: str = "aggregateid"
    payload_field: str = "payload"
    timestamp_field: str | None = None
    schema_version_field: str | None = None
    placements: tuple[DebeziumPlacement, ...] = ()
    missing_field: Literal["error", "ignore"] = "error"
    route_by_field: str = "aggregatetype"
    route_regex: str = "(?<routedByValue>.*)"
    route_replacement: str = "outbox.event.${routedByValue}"
    renames: tuple[Rename, ...] = ()
    tombstone_on_empty_payload: bool = False
    invalid_operation: InvalidOperationRule = "warn"
    null_headers: bool = True
    key_form: Form = field(default_factory=Form)
    value_form: Form = field(default_factory=Form)
    header_form: Form = field(default_factory=Form)
    expand_json: bool = False
    json_nulls: JsonMembers = "keep"
    json_empty_arrays: JsonMembers = "keep"
    types: TypeModes = field(default_factory=TypeModes)
    schema_prefix: str = ""

    def __post_init__(self) -> None:
        if sum(placement.place == "partition" for placement in self.placements) > 1:
            raise BadOption("more than one column is placed as partition")
        java_router(self.route_regex, self.route_replacement)

    @property
    def in_envelope(self) -> tuple[DebeziumPlacement, ...]:
        """Columns that stand in the value beside the payload."""
        return tuple(placement for placement in self.placements if placement.place == "envelope")

    def router(self) -> Callable[[str], str]:
        """The routing column's text -> the topic."""
        steps = [java_router(self.route_regex, self.route_replacement), *(rule.compiled() for rule in self.renames)]

        def topic(text: str) -> str:
            for step in steps:
                text = step(text)
            return text

        return topic

    def columns(self) -> dict[str, bool]:
        """Columns that the rules read, in a fixed order -> whether a table without it is refused."""
        wanted = {self.id_field: True, self.route_by_field: True, self.payload_field: True, self.key_field: False}
        for named in (self.timestamp_field, self.schema_version_field):
            if named is not None:
                wanted[named] = True
        for placement in self.placements:
            wanted.setdefault(placement.column, self.missing_field == "error")
        return wanted


@dataclass(frozen=True, slots=True)
class Window:
    """When a batch (one Kafka transaction) is closed: at the first commit beyond one of these.

    Between two small batches lies a rest (`pacing.py`) of at least `rest_ms` and at most `age_ms`; `pause_ms` before the
    next read under load lets the server send more at once; a read of fewer rows than `busy_rows` counts as no load, of
    fewer than `late_rows` where the rows were committed more than `age_ms` ago. Neither is a bound of memory: records are
    on their way while a batch is open.
    A database transaction larger than `part_rows_max` or `part_bytes_max` is published in several batches, so that none
    outlasts Kafka's time-out; readers see such a one in parts.
    """

    rows_max: int = 25_000
    bytes_max: int = 24 * 1024 * 1024
    age_ms: float = 60
    rest_ms: float = 8
    pause_ms: float = 3
    busy_rows: int = 100
    late_rows: int = 16
    part_rows_max: int = 100_000
    part_bytes_max: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cleaning:
    """Published rows are taken out of the table once they are `keep_s` seconds old.

    `age_field` is a column of type timestamp or timestamptz that says since when; without one a row's age counts from
    when this process first knew it to be published, so that a restart begins anew.
    """

    keep_s: float
    age_field: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.keep_s <= KEEP_S_MAX:
            raise BadOption(f"clean-up after {self.keep_s} s is not within 0 and {KEEP_S_MAX} s")


@dataclass(frozen=True, slots=True)
class OutboxConfig:
    """Everything that one connector needs.

    `table` and `more_tables`: schema.table each, in double quotes what holds a point; the rules are the same for all.
    `message_prefix`: transactional logical messages of this prefix are rows too (`messages.py`); `table` may be "" then.
    `publication` "" means `<slot>_pub`. `snapshot` "initial": rows that are in the table at the very first start are sent;
    they are read in the order of the columns `snapshot_order`, or as they lie.
    `new_topic_partitions`, `new_topic_replication` (-1: the broker's default) and `new_topic_settings` are for topics that
    are made for rows.
    `create_publication` False: a publication that is missing is refused. `kafka` holds further librdkafka options (security, compression). `record_bytes_max` caps a record beside the topic's own limit.
    `resume` is the way on where a start would be refused, and changes nothing elsewhere: "slot" goes on where the slot is
    (what lies before it is not sent, or sent again), "republish" starts as for the first time.
    `dead_letter` makes the record for a row that Kafka can never take; without it such a row stops the connector.
    `cleaning` None: the table is never touched.
    `polling`: the tables are asked instead of the log, so that `slot`, `publication`, `snapshot`, `forget_position` and
    `resume` mean nothing.
    `takeover_wait_s` is how long a predecessor's hold on the slot is waited for; None: the server's wal_sender_timeout and 5 s.
    `answer_within_s` is how long the stream's server may owe an answer before the stream is begun anew.
    """

    name: str
    source_url: str
    bootstrap: str
    table: str
    slot: str
    publication: str = ""
    more_tables: tuple[str, ...] = ()
    message_prefix: str | None = None
    create_publication: bool = True
    routing: Routing = field(default_factory=Routing)
    window: Window = field(default_factory=Window)
    snapshot: Literal["initial", "no_data"] = "initial"
    snapshot_order: tuple[str, ...] = ()
    create_topics: bool = False
    new_topic_partitions: int = -1
    new_topic_replication: int = -1
    new_topic_settings: Mapping[str, str] = field(default_factory=dict)
    dead_letter_topic: str = "dead-letters"
    dead_letter: Callable[[Refusal], LetterRecord] | None = None
    forget_position: bool = False
    resume: Literal["slot", "republish"] | None = None
    kafka: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    record_bytes_max: int = RECORD_BYTES_MAX
    transaction_timeout_ms: int = 120_000
    advance_every_s: float = 3
    takeover_wait_s: float | None = None
    answer_within_s: float = 600
    polling: Polling | None = None
    cleaning: Cleaning | None = None

    def __post_init__(self) -> None:
        if not _SLOT_NAME.fullmatch(self.slot):
            raise BadOption(f"slot {self.slot!r}: lower-case letters, digits and _ only, at most 63")
        if not _CONNECTOR_NAME.fullmatch(self.name):
            raise BadOption(f"connector name {self.name!r}: letters, digits and . _ - only, at most 200")
        if not self.table and (self.message_prefix is None or self.more_tables):
            raise BadOption("no table is named")
        if self.message_prefix == "":
            raise BadOption("the prefix of logical messages is empty")
        if self.table and len(set(self.tables)) != 1 + len(self.more_tables):
            raise BadOption(f"a table is named twice: {', '.join((self.table, *self.more_tables))}")
        if not self.publication:
            object.__setattr__(self, "publication", f"{self.slot}_pub")

    @property
    def schema_and_table(self) -> tuple[str, str]:
        """Schema (`public` if none was given) and name of the outbox table, the first if there are several."""
        return parse_table(self.table)

    @property
    def tables(self) -> tuple[TableName, ...]:
        """All outbox tables."""
        return tuple(map(parse_table, (self.table, *self.more_tables))) if self.table else ()

    @property
    def positions_topic(self) -> str:
        """The compacted topic of one partition that holds this connector's position."""
        return f"connect-outbox-{self.name}-offsets"

    @property
    def waiting_topic(self) -> str:
        """The compacted topic of one partition that holds rows which Kafka refused and those that wait behind them."""
        return f"connect-outbox-{self.name}-waiting"

    @property
    def transactional_id(self) -> str:
        """Kafka fences by this: one live process a name."""
        return f"outbox-{self.name}"


def parse_table(text: str) -> TableName:
    """Schema (`public` if there is none) and table; a name in double quotes may hold points. Raises BadOption."""
    found = _TABLE.fullmatch(text)
    if found is None:
        raise BadOption(f"table {text!r} is not schema.table")
    return _unquoted(found["schema"] or "public"), _unquoted(found["name"])


def quoted_table(schema: str, name: str) -> str:
    """What `parse_table` reads as these two."""
    return ".".join(
        '"' + part.replace('"', '""') + '"' if "." in part or '"' in part else part for part in (schema, name)
    )


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
