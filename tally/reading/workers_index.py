"""The index of histories as the running workers tell it: who they are is asked once, and again when none answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

import httpx

from schemas.histories import Row
from schemas.partitioning import partition_of
from schemas.topics import PARTITIONS
from tally.reading import workers
from tally.reading.reader import REQUEST_TIMEOUT_S
from tally.reading.workers import NotServed, Worker

# The table that tells the newest version of an aggregate that no database gates.
TABLE_BY_TYPE = {"inventory": "stock", "sagas": "order_sagas"}

Answer = TypeVar("Answer")


class WorkersIndex:
    """Asks over HTTP; safe to share between threads. Finding the workers, or making a client, takes ten times a history."""

    def __init__(self, bootstrap: str, find: Callable[[str], list[Worker]] = workers.find) -> None:
        self._bootstrap, self._find = bootstrap, find
        self._known: list[Worker] = []

    @cached_property
    def _client(self) -> httpx.Client:
        """At the first question: whoever only appends never asks."""
        return httpx.Client(timeout=REQUEST_TIMEOUT_S)

    def close(self) -> None:
        """Gives the connections back."""
        if "_client" in vars(self):
            self._client.close()

    def rows(self, aggregatetype: str, aggregate_id: str, first: int, last: int) -> list[Row]:
        """Rows from one version to another, as far as they are there. Raises NotServed."""
        of = aggregatetype, aggregate_id
        return self._ask(aggregate_id, lambda known: workers.history(known, of, first, last, self._client.get))

    def version(self, aggregatetype: str, aggregate_id: str) -> int:
        """The newest version of an aggregate that no database gates; 0 for none. Raises NotServed."""
        table = TABLE_BY_TYPE[aggregatetype]
        row = self._ask(aggregate_id, lambda known: workers.get(known, table, aggregate_id, self._client.get))
        return 0 if row is None else int(row["value"]["version"])

    def _ask(self, aggregate_id: str, ask: Callable[[list[Worker]], Answer]) -> Answer:
        number = partition_of(aggregate_id.encode(), PARTITIONS)

        def others_last(worker: Worker) -> bool:
            return number not in {each for _, each in worker.partitions}

        try:
            return ask(sorted(self._known, key=others_last))
        except NotServed:
            # None was known yet, or the partition has moved: whoever does not own it any more says so.
            self._known = self._find(self._bootstrap)
            return ask(sorted(self._known, key=others_last))
