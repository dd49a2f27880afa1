"""Options and bounds of the copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.consuming import SESSION_TIMEOUT_MS, Bounds, Group
from schemas.topics import READ_MODELS, TABLE_VERSIONS, changelog

DAY_S = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class CopiesConfig:
    """The copies of `tables` under `prefix`; `changelogs` names a table's topic where it is not the usual one, and
    `versions` the topic that tells which version of each is served.

    A deleted row leaves its offset behind for `tombstone_s`: longer than any reader could lag, so that no older record
    brings the row back.
    """

    bootstrap: str
    redis_url: str
    tables: tuple[str, ...] = READ_MODELS
    changelogs: Mapping[str, str] = field(default_factory=dict)
    versions: str = TABLE_VERSIONS
    prefix: str = "tally"
    group: str = "tally-copies"
    instance: str = "0"
    bounds: Bounds = field(default_factory=lambda: Bounds(records_max=1_000))
    tombstone_s: int = 7 * DAY_S
    session_timeout_ms: int = SESSION_TIMEOUT_MS
    kafka: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    def table_by_topic(self, served: Mapping[str, int]) -> dict[str, tuple[str, int]]:
        """Which table, in which version, a changelog belongs to, where these versions are served."""
        return {self._changelog(table, served[table]): (table, served[table]) for table in self.tables}

    @property
    def consumer_group(self) -> Group:
        """The group and our place in it; its topics are known once the versions are."""
        instance = f"{self.group}-{self.instance}"
        return Group(self.bootstrap, self.group, instance, (), self.session_timeout_ms, self.kafka)

    def _changelog(self, table: str, version: int) -> str:
        given = self.changelogs.get(table)
        if given is None:
            return changelog(table, version)
        return given if version == 1 else f"{given}-v{version}"
