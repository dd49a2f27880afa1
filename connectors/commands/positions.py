"""Position rows of a sink: where it goes on, kept in the service's database and moved with the effects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from connectors.commands.handler import Connection


@dataclass(frozen=True, slots=True)
class Move:
    """From the offset that we believe in to the next one; equal ones only lock and check."""

    expected: int
    next: int


class PositionMoved(Exception):
    """Another owner of these partitions lives: what we hold is theirs."""

    def __init__(self, topic: str, partitions: Iterable[int]) -> None:
        super().__init__(f"the position of {topic}/{sorted(partitions)} was moved by another owner")


def read(connection: Connection, topic: str, partitions: list[int]) -> dict[int, int]:
    """Next offset by partition; a partition that was never read begins at 0."""
    with connection.transaction():
        connection.execute(
            "insert into sink_positions (topic, partition, next_offset) select %s, unnest(%s::int[]), 0 on conflict do nothing",
            [topic, partitions],
        )
        rows = connection.execute(
            "select partition, next_offset from sink_positions where topic = %s and partition = any(%s)",
            [topic, partitions],
        ).fetchall()
    return {int(partition): int(next_offset) for partition, next_offset in rows}


def move(connection: Connection, topic: str, moves: Mapping[int, Move]) -> None:
    """Move all of them or none, and hold their rows until the transaction ends. Raises PositionMoved."""
    partitions = sorted(moves)
    moved = connection.execute(
        "update sink_positions as p set next_offset = m.next"
        " from unnest(%s::int[], %s::bigint[], %s::bigint[]) as m(partition, expected, next)"
        " where p.topic = %s and p.partition = m.partition and p.next_offset = m.expected returning p.partition",
        [partitions, [moves[p].expected for p in partitions], [moves[p].next for p in partitions], topic],
    ).fetchall()
    missing = set(partitions) - {int(row[0]) for row in moved}
    if missing:
        raise PositionMoved(topic, missing)
