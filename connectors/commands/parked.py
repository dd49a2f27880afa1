"""Parked commands: those whose key is busy, with the later ones of the same key behind them, as rows of a table."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.commands.config import ParkedBounds
from connectors.commands.handler import Connection
from connectors.consuming import Record

BEHIND = "BEHIND"

# What commands wait for one another by: order is per key, and a key lives in one partition.
Line = tuple[int, bytes | None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is parked now: how many rows, and which lines."""

    rows: int
    lines: frozenset[Line]


def waiting(connection: Connection, topic: str, partitions: list[int]) -> Waiting:
    """What is parked of these partitions."""
    rows = connection.execute(
        "select partition, key, count(*) from parked_commands where topic = %s and partition = any(%s) group by 1, 2",
        [topic, partitions],
    ).fetchall()
    return Waiting(sum(row[2] for row in rows), frozenset((row[0], row[1]) for row in rows))


def park(connection: Connection, record: Record, reason: str) -> None:
    """Keep a record for later; it must be the last of its line."""
    headers = list(record.headers)
    connection.execute(
        "insert into parked_commands (topic, partition, record_offset, key, value, header_names, header_values, reason)"
        " values (%s, %s, %s, %s, %s, %s, %s::bytea[], %s)",
        [
            record.topic,
            record.partition,
            record.offset,
            record.key,
            record.value,
            [name for name, _ in headers],
            [value.encode() if isinstance(value, str) else value for _, value in headers],
            reason,
        ],
    )


def due(connection: Connection, topic: str, partitions: list[int], bounds: ParkedBounds) -> list[Line]:
    """Lines whose first command is to be tried again now."""
    rows = connection.execute(
        "select partition, key from (select distinct on (partition, key) partition, key, retry_at from parked_commands"
        " where topic = %s and partition = any(%s) order by partition, key, record_offset) as first"
        " where retry_at <= clock_timestamp() order by retry_at limit %s",
        [topic, partitions, bounds.keys_a_pass_max],
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


def line_of(connection: Connection, topic: str, line: Line, bounds: ParkedBounds) -> list[Record]:
    """The first commands of a line, in their order."""
    rows = connection.execute(
        "select record_offset, value, header_names, header_values from parked_commands"
        " where topic = %s and partition = %s and key is not distinct from %s order by record_offset limit %s",
        [topic, line[0], line[1], bounds.commands_a_key_max],
    ).fetchall()
    return [
        Record(topic, line[0], offset, line[1], value, list(zip(names, values, strict=True)))
        for offset, value, names, values in rows
    ]


def remove(connection: Connection, record: Record) -> None:
    """The command was worked or set aside."""
    connection.execute(
        "delete from parked_commands where topic = %s and partition = %s and record_offset = %s",
        [record.topic, record.partition, record.offset],
    )


def postpone(connection: Connection, record: Record, reason: str, bounds: ParkedBounds) -> None:
    """The key is still busy: later again, twice as long each time."""
    connection.execute(
        "update parked_commands set attempts = attempts + 1, reason = %s,"
        " retry_at = clock_timestamp() + make_interval(secs => least(%s::float8 * power(2, least(attempts, 20)), %s::float8))"
        " where topic = %s and partition = %s and record_offset = %s",
        [reason, bounds.retry_first_s, bounds.retry_longest_s, record.topic, record.partition, record.offset],
    )
