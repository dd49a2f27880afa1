"""Options and bounds of the copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.consuming import SESSION_TIMEOUT_MS, Bounds, Group
from schemas.topics import READ_MODELS, changelog

DAY_S = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class CopiesConfig:
    """The copies of `tables` under `prefix`; `changelogs` names a table's topic where it is not the usual one.

    A deleted row leaves its offset behind for `tombstone_s`: longer than any reader could lag, so that no older record
    brings the row back.
    """

    bootstrap: str
    redis_url: str
    tables: tuple[str, ...] = READ_MODELS
    changelogs: Mapping[str, str] = field(default_factory=dict)
    prefix: str = "tally"
    group: str = "tally-copies"
    instance: str = "0"
    bounds: Bounds = field(default_factory=lambda: Bounds(records_max=1_000))
    tombstone_s: int = 7 * DAY_S
    session_timeout_ms: int = SESSION_TIMEOUT_MS
    kafka: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    @property
    def table_by_topic(self) -> dict[str, str]:
        """Which table a changelog belongs to."""
        return {self.changelogs.get(table, changelog(table)): table for table in self.tables}

    @property
    def consumer_group(self) -> Group:
        """The group and our place in it."""
        topics, instance = tuple(self.table_by_topic), f"{self.group}-{self.instance}"
        return Group(self.bootstrap, self.group, instance, topics, self.session_timeout_ms, self.kafka)
