"""Faust's global table: each worker writes its partitions' rows, and reads the rows of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from faust.types import TP

from .errors import Misconfigured
from .follower import Follower, Pairs
from .table import Table
from .table_partition import CommittedPartition, TablePartition


class GlobalTable(Table):
    """A key is written to the partition of the event that touches it, as in any table; so each has one writer.

    What other workers have committed is followed, in memory: a read sees it some milliseconds later. The event's own
    partition is asked first; a key that several partitions hold is there once for each.
    """

    _REFUSED = ("window", "use_partitioner", "synchronize_all_active_partitions")

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self._followed: dict[int, TablePartition] = {}
        self._follower: Follower | None = None

    def using_window(self, window: Any, *, key_index: bool = False) -> Any:
        raise Misconfigured(f"table {self.name!r}: a global table has no windows")

    # -- reading

    def committed(self, number: int) -> CommittedPartition:
        """Committed rows of any partition, owned or followed."""
        own = self._committed.get(number)
        return CommittedPartition(self._followed[number]) if own is None else own

    def partitions_followed(self) -> set[int]:
        return set(self._followed)

    def read(self, key: Any, latest: bool = False, partition: int | None = None) -> Any:
        """A row or None, from any partition; only owned ones have rows that are not committed."""
        for number in sorted(self._numbers()) if partition is None else [partition]:
            owned = latest and number in self._partitions
            row = (self._partitions[number] if owned else self.committed(number)).get(key)
            if row is not None:
                return row
        return None

    def _numbers(self) -> set[int]:
        return self._committed.keys() | self._followed.keys()

    def _holding(self, key: Any) -> Any:
        here = self._here()
        if here is not None and key in here:
            return here
        return next((view for view in self._views() if key in view), {})

    def _views(self) -> Iterator[Any]:
        here = self._here()
        own: Any = self._committed if here is None else self._partitions
        yield from list(own.values())
        yield from (rows for number, rows in list(self._followed.items()) if number not in own)

    # -- what the transport calls

    async def follow_others(self, owned: set[int]) -> bool:
        """Returns when the rows of all other partitions are there; False when the app stops before."""
        app, topic = self.app, self.changelog_topic_name
        others = set(range(app.consumer.partitions)) - owned
        if self._follower is None:
            self._follower = Follower(topic, app.transport.client_config(), self._take, app.transport.fatal)
        elif others == set(self._followed):
            return True
        known = self._followed
        self._followed = {number: known[number] if number in known else TablePartition(number) for number in others}
        ends = await app.consumer.end_offsets([TP(topic, number) for number in others])
        starts = {number: rows.changelog_offset + 1 for number, rows in self._followed.items()}
        self._follower.follow(starts, {tp.partition: end for tp, end in ends.items()})
        return await self._follower.caught_up(lambda: app.should_stop or app.consumer.should_stop)

    def _take(self, number: int, pairs: Pairs, offset: int) -> None:
        rows = self._followed.get(number)
        if rows is not None and offset > rows.changelog_offset:
            keys, values = self.key_codec.loads, self.value_codec.loads
            rows.fill({keys(k): None if v is None else values(v) for k, v in pairs.items()}, offset)

    async def on_stop(self) -> None:
        if self._follower is not None:
            await self._follower.stop()
        await super().on_stop()
