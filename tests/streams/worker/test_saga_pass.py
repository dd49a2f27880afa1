"""The pass over a partition's sagas: in pieces, beside the loop, and given up when the partition goes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

from schemas.envelope import to_rfc3339
from streams.sagas.deadlines import Deadlines, Inputs
from streams.sagas.listing import SagaList
from streams.scenario import MOMENT
from streams.worker.saga_pass import PIECE_ROWS, SagaPass


class Rows:
    """A table of which `count` running sagas are read, after `go` is set."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.go = threading.Event()
        self.begun = threading.Event()
        self.rows = {f"o{n}": _row(n) for n in range(count)}

    def snapshot(self, partition: int) -> Iterator[tuple[str, dict[str, Any]]]:
        self.begun.set()
        self.go.wait()
        yield from self.rows.items()


def _row(number: int) -> dict[str, Any]:
    return {
        "order_id": f"o{number}",
        "saga_id": f"s{number}",
        "correlation_id": "c",
        "version": 1,
        "status": "RUNNING",
        "outcome": None,
        "reason": None,
        "order_status": "CREATED",
        "started_at": to_rfc3339(MOMENT),
        "due": {"reserve": to_rfc3339(MOMENT)},
    }


async def _counted(sagas: SagaList) -> None:
    async with asyncio.timeout(20):
        while not sagas.counts():  # noqa: ASYNC110  the end of a pass signals nobody
            await asyncio.sleep(0)


async def test_every_saga_is_counted_and_its_deadline_known() -> None:
    table, deadlines, sagas = Rows(PIECE_ROWS + 1), Deadlines(), SagaList()
    table.go.set()
    passing = SagaPass(table, deadlines, sagas)
    passing.begin(0)
    await _counted(sagas)
    assert sagas.counts() == {"RUNNING": PIECE_ROWS + 1}

    async def ends(_: int) -> dict[str, int]:
        return {}

    sent = await deadlines.fire(0, table.rows, Inputs(ends, lambda _: {}), MOMENT)
    assert len(sent) == PIECE_ROWS + 1


async def test_a_partition_that_goes_in_the_middle_is_forgotten() -> None:
    table, deadlines, sagas = Rows(1), Deadlines(), SagaList()
    passing = SagaPass(table, deadlines, sagas)
    passing.begin(0)
    await asyncio.to_thread(table.begun.wait)
    passing.drop(0)
    table.go.set()
    passing.begin(1)
    await _counted(sagas)
    assert sagas.counts() == {"RUNNING": 1}
    assert sagas.newest(None, 9) == [(1, "o0")]
