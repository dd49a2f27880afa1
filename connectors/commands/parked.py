"""Parked commands, rows of one table: those whose key is busy, those that are set aside, and the later ones behind both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from connectors.commands.config import ParkedBounds
from connectors.commands.handler import Connection
from connectors.consuming import Record

BEHIND = "BEHIND"

# What commands wait for one another by: order is per key, and a key lives in one partition. A command that cannot be
# read stands alone: then the third is its offset.
Line = tuple[int, bytes | None, int | None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is parked now: how many rows; which lines, and which of them wait behind a command that was set aside."""

    rows: int
    lines: frozenset[Line]
    dead: frozenset[Line]


@dataclass(frozen=True, slots=True)
class Parked:
    """One parked command; `letter` is the key of its dead letter, `tries` and `history` tell how it went so far."""

    record: Record
    letter: str | None = None
    tries: int = 0
    history: str = ""


def waiting(connection: Connection, topic: str, partitions: list[int]) -> Waiting:
    """What is parked of these partitions."""
    rows = connection.execute(
        "select partition, key, case when alone then record_offset end, count(*), bool_or(dead) from parked_commands"
        " where topic = %s and partition = any(%s) group by 1, 2, 3",
        [topic, partitions],
    ).fetchall()
    lines = frozenset((row[0], row[1], row[2]) for row in rows)
    return Waiting(sum(row[3] for row in rows), lines, frozenset((row[0], row[1], row[2]) for row in rows if row[4]))


def park(connection: Connection, record: Record, reason: str, *, alone: bool = False) -> None:
    """Keep a record for later; it must be the last of its line."""
    headers = list(record.headers)
    connection.execute(
        "insert into parked_commands"
        " (topic, partition, record_offset, key, value, header_names, header_values, reason, alone)"
        " values (%s, %s, %s, %s, %s, %s, %s::bytea[], %s, %s) on conflict do nothing",
        [
            record.topic,
            record.partition,
            record.offset,
            record.key,
            record.value,
            [name for name, _ in headers],
            [value.encode() if isinstance(value, str) else value for _, value in headers],
            reason,
            alone,
        ],
    )


def due(connection: Connection, topic: str, partitions: list[int], bounds: ParkedBounds) -> list[Line]:
    """Lines whose first command is to be tried again now."""
    rows = connection.execute(
        "select partition, key, place from (select distinct on (partition, key, place) * from ("
        "  select *, case when alone then record_offset end as place from parked_commands"
        "  where topic = %s and partition = any(%s)) as parked order by partition, key, place, record_offset) as first"
        " where not dead and retry_at <= clock_timestamp() order by retry_at limit %s",
        [topic, partitions, bounds.keys_a_pass_max],
    ).fetchall()
    return [(row[0], row[1], row[2]) for row in rows]


def line_of(connection: Connection, topic: str, line: Line, rows_max: int) -> list[Parked]:
    """The first commands of a line, in their order."""
    rows = connection.execute(
        "select record_offset, key, value, header_names, header_values, letter, tries, history from parked_commands"
        " where topic = %s and partition = %s and key is not distinct from %s"
        " and case when alone then record_offset end is not distinct from %s order by record_offset limit %s",
        [topic, *line, rows_max],
    ).fetchall()
    return [_parked(topic, line[0], row) for row in rows]


def dead(connection: Connection, topic: str, partitions: list[int]) -> list[tuple[Line, Parked]]:
    """Commands that were set aside, with their lines."""
    rows = connection.execute(
        "select record_offset, key, null, '{}'::text[], '{}'::bytea[], letter, tries, history,"
        " partition, case when alone then record_offset end"
        " from parked_commands where topic = %s and partition = any(%s) and dead order by partition, record_offset",
        [topic, partitions],
    ).fetchall()
    return [((row[8], row[1], row[9]), _parked(topic, row[8], row)) for row in rows]


def remove(connection: Connection, record: Record) -> None:
    """The command was worked or discarded."""
    connection.execute("delete from parked_commands" + _OF_RECORD, _place(record))


def postpone(connection: Connection, record: Record, reason: str, bounds: ParkedBounds) -> None:
    """The key is still busy: later again, twice as long each time."""
    connection.execute(
        "update parked_commands set attempts = attempts + 1, reason = %s,"
        " retry_at = clock_timestamp() + make_interval(secs => least(%s::float8 * power(2, least(attempts, 20)), %s::float8))"
        + _OF_RECORD,
        [reason, bounds.retry_first_s, bounds.retry_longest_s, *_place(record)],
    )


def bury(connection: Connection, parked: Parked, reason: str) -> None:
    """The command is set aside: it is not tried again before somebody asks for it."""
    connection.execute(
        "update parked_commands set dead = true, reason = %s, letter = %s, tries = %s, history = %s" + _OF_RECORD,
        [reason, parked.letter, parked.tries, parked.history, *_place(parked.record)],
    )


def name_letter(connection: Connection, record: Record, letter: str) -> None:
    """A command behind one that was set aside has a letter too."""
    connection.execute("update parked_commands set letter = %s" + _OF_RECORD, [letter, *_place(record)])


def raise_up(connection: Connection, record: Record) -> None:
    """The command is to be tried again, now."""
    connection.execute(
        "update parked_commands set dead = false, attempts = 0, retry_at = clock_timestamp()" + _OF_RECORD,
        _place(record),
    )


_OF_RECORD = " where topic = %s and partition = %s and record_offset = %s"


def _place(record: Record) -> list[Any]:
    return [record.topic, record.partition, record.offset]


def _parked(topic: str, partition: int, row: tuple[Any, ...]) -> Parked:
    offset, key, value, names, values, letter, tries, history = row[:8]
    record = Record(topic, partition, offset, key, value, list(zip(names, values, strict=True)))
    return Parked(record, letter, tries, history)
