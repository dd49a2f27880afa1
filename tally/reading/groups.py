"""How far consumer groups are behind the ends of their topics."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tally.reading.reader import REQUEST_TIMEOUT_S, Reader, Unreachable, committed


@dataclass(frozen=True, slots=True)
class Lag:
    """One partition of one group; `lag` in records (markers of transactions count as such)."""

    group: str
    topic: str
    partition: int
    committed: int
    end: int

    @property
    def lag(self) -> int:
        """Records between the two, never below zero."""
        return max(self.end - self.committed, 0)


def names(bootstrap: str) -> list[tuple[str, str]]:
    """(group, state) of every group. Raises Unreachable."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        listed = admin.list_consumer_groups(request_timeout=REQUEST_TIMEOUT_S).result()
    except KafkaException as error:
        raise Unreachable(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}") from None
    return sorted((group.group_id, group.state.name) for group in listed.valid)


def lags(bootstrap: str, groups: list[str] | None = None) -> list[Lag]:
    """Lag of every partition that the groups (all by default) have committed. Raises Unreachable."""
    asked = [name for name, _ in names(bootstrap)] if groups is None else groups
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    found = []
    with Reader(bootstrap) as reader:
        ends: dict[tuple[str, int], int] = {}
        for group in asked:
            for place, offset in sorted(committed(admin, group).items()):
                if place not in ends:
                    ends[place] = reader.bounds(place)[1]
                found.append(Lag(group, *place, offset, ends[place]))
    return found
