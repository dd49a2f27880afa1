"""One pass over the rows of `order_sagas` when their partition comes: deadlines and the list of sagas begin with it.

A table in RocksDB is there as soon as its tail is read, whatever its size; to look at each row takes seconds for a
million. So that happens beside the batches, in pieces read in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Any

from streams.sagas.deadlines import Deadlines, Entry, entries_of
from streams.sagas.listing import SagaList, Standing, standing

# Some milliseconds of the thread, and one of the event loop.
PIECE_ROWS = 500


class SagaPass:
    """The passes of all partitions; what they find goes to the deadlines and the list. For the event loop's thread."""

    def __init__(self, table: Any, deadlines: Deadlines, sagas: SagaList) -> None:
        self._table, self._deadlines, self._sagas = table, deadlines, sagas
        self._running: dict[int, asyncio.Task[None]] = {}

    def begin(self, partition: int) -> None:
        """Before the partition's first record. One that is still going on is given up for the new one."""
        self._give_up(partition)
        self._deadlines.begin(partition)
        self._sagas.begin(partition)
        rows = self._table.snapshot(partition)
        self._running[partition] = asyncio.get_running_loop().create_task(self._run(partition, rows))

    def drop(self, partition: int) -> None:
        """The partition went to another worker."""
        self._give_up(partition)
        self._deadlines.drop(partition)
        self._sagas.drop(partition)

    def _give_up(self, partition: int) -> None:
        running = self._running.pop(partition, None)
        if running is not None:
            running.cancel()

    async def _run(self, partition: int, rows: Iterator[tuple[str, Any]]) -> None:
        while True:
            try:
                piece = await asyncio.to_thread(_piece, rows)
            except KeyError:  # the table let the partition go in this moment; `drop` is next
                return
            self._sagas.add(partition, [found for found, _ in piece])
            self._deadlines.add(partition, [entry for _, entries in piece for entry in entries])
            if len(piece) < PIECE_ROWS:
                break
        self._sagas.end(partition)


def _piece(rows: Iterator[tuple[str, Any]]) -> list[tuple[Standing, tuple[Entry, ...]]]:
    return [(standing(row), entries_of(row)) for _, row in islice(rows, PIECE_ROWS)]
