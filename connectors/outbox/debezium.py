"""`--debezium-config FILE`: a Debezium PostgreSQL connector's options as ours, so that a user moves with the file they have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from psycopg.conninfo import make_conninfo

from connectors.outbox.config import RECORD_BYTES_MAX, OutboxConfig, parse_table, quoted_table
from connectors.outbox.debezium_file import Options
from connectors.outbox.debezium_routing import routing
from connectors.outbox.errors import BadOption
from connectors.outbox.outboxes import find_tables

_OVERRIDES = "producer.override."
# librdkafka knows these by the same name and with the same meaning.
_SAME_IN_LIBRDKAFKA = frozenset(
    (
        "compression.type",
        "linger.ms",
        "batch.size",
        "client.id",
        "security.protocol",
        "client.rack",
        "metadata.max.age.ms",
    )
)
# What stays as it is for the sake of the promises or of the memory, whatever the file says.
_FIXED = frozenset(
    (
        *("acks", "enable.idempotence", "max.in.flight.requests.per.connection", "retries", "delivery.timeout.ms"),
        *("transaction.timeout.ms", "request.timeout.ms", "buffer.memory", "max.block.ms"),
    )
)
_SSL = {"database.sslmode": "sslmode", "database.sslcert": "sslcert", "database.sslkey": "sslkey"}
_SSL |= {"database.sslrootcert": "sslrootcert", "database.sslpassword": "sslpassword"}
_LITERAL_TABLE = re.compile(r"[\w$ -]+(?:\\\.|\.)[\w$ -]+")
_ILLEGAL_IN_NAME = re.compile(r"[^A-Za-z0-9._-]")
_NAME_MAX = 200
_TOPIC_CREATION = "topic.creation.default."


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line gives; "" or () means that the file decides."""

    source_url: str = ""
    bootstrap: str = ""
    tables: tuple[str, ...] = ()
    slot: str = ""
    publication: str = ""
    name: str = ""


def debezium_config(options: Options, given: Overrides) -> OutboxConfig:
    """The whole configuration. Raises BadOption for every option, by name, that this version does not know."""
    source_url = _source_url(options, given.source_url)
    # Each option is asked for even where the command line goes before it: so it counts as known.
    in_file = options.get("bootstrap.servers")
    bootstrap = given.bootstrap or in_file
    if not bootstrap:
        raise BadOption("--bootstrap is missing: a Debezium connector's file does not name the brokers")
    kafka, record_bytes_max = _producer(options)
    slot, publication = options.get("slot.name", "debezium"), options.get("publication.name", "dbz_publication")
    slot, publication = given.slot or slot, given.publication or publication
    create_publication = options.one_of(
        "publication.autocreate.mode", ("all_tables", "filtered", "disabled"), "all_tables"
    )
    snapshot = _snapshot(options)
    tables = _tables(options, given.tables, source_url)
    rules = routing(options, [".".join(parse_table(table)) for table in tables])
    partitions = options.number(_TOPIC_CREATION + "partitions", -1)
    replication = options.number(_TOPIC_CREATION + "replication.factor", -1)
    settings = {
        option.removeprefix(_TOPIC_CREATION): options.get(option) for option in options.beginning(_TOPIC_CREATION)
    }
    name = given.name or options.name or rules.schema_prefix or slot
    options.get("topic.creation.enable")
    options.refuse_the_rest()
    return OutboxConfig(
        name=_ILLEGAL_IN_NAME.sub("-", name)[:_NAME_MAX],
        source_url=source_url,
        bootstrap=bootstrap,
        table=tables[0],
        more_tables=tables[1:],
        slot=slot,
        publication=publication,
        create_publication=create_publication != "disabled",
        routing=rules,
        snapshot=snapshot,
        create_topics=True,
        new_topic_partitions=partitions,
        new_topic_replication=replication,
        new_topic_settings=settings,
        kafka=kafka,
        record_bytes_max=record_bytes_max,
    )


def _source_url(options: Options, given: str) -> str:
    """The command line's, or one made of database.*, which are known either way."""
    names = ("hostname", "port", "user", "dbname")
    host, port, user, dbname = (options.get(f"database.{name}") for name in names)
    ssl = {ours: options.get(theirs) for theirs, ours in _SSL.items()}
    if given:
        options.get("database.password")
        return given
    for name, value in zip(names, (host, port or "5432", user, dbname), strict=True):
        if not value:
            raise BadOption(f"--debezium-config: database.{name} is missing, and there is no --source-url")
    parameters = {"host": host, "port": port or "5432", "user": user, "dbname": dbname}
    parameters["password"] = options.secret("database.password")
    return make_conninfo(**{name: value for name, value in (parameters | ssl).items() if value})


def _tables(options: Options, given: tuple[str, ...], source_url: str) -> tuple[str, ...]:
    """Tables of the command line or of table.include.list, whose entries may be regular expressions."""
    option = "table.include.list"
    entries = [entry.strip() for entry in options.get(option).split(",") if entry.strip()]
    options.get("schema.include.list")
    if given:
        return given
    if not entries:
        raise options.refusal(option, "the outbox must be named, here or by --table")
    if all(_LITERAL_TABLE.fullmatch(entry) for entry in entries):
        return tuple(quoted_table(*entry.replace("\\.", ".").split(".")) for entry in entries)
    found = find_tables(source_url, entries)
    if not found:
        raise options.refusal(option, "no table of the database matches")
    return tuple(quoted_table(*table) for table in found)


def _snapshot(options: Options) -> Literal["initial", "no_data"]:
    """A first start sends what is in the table, or nothing of it. Without a loss both modes never start anew."""
    mode = options.one_of("snapshot.mode", ("initial", "no_data", "never", "when_needed"), "initial")
    return "no_data" if mode in ("no_data", "never") else "initial"


def _producer(options: Options) -> tuple[dict[str, str | int | float | bool], int]:
    """(librdkafka's settings, the largest record in bytes) out of producer.override.*."""
    kafka: dict[str, str | int | float | bool] = {}
    bytes_max = options.number(_OVERRIDES + "max.request.size", RECORD_BYTES_MAX)
    for option in options.beginning(_OVERRIDES):
        name = option.removeprefix(_OVERRIDES)
        if name in _SAME_IN_LIBRDKAFKA:
            kafka[name] = options.get(option)
        elif name in _FIXED:
            options.get(option)
        else:
            raise options.refusal(option, "not known to this version")
    return kafka, bytes_max
