"""Readers that wait: woken by commits, many at once, none missed, none left behind."""

from __future__ import annotations

import asyncio

from streams.worker.waiting import Waiters


async def test_what_is_there_needs_no_waiting() -> None:
    assert await Waiters().wait("orders", "o1", lambda: True, 0)


async def test_every_reader_of_a_key_is_woken_by_its_commit() -> None:
    waiters, rows = Waiters(), set[str]()
    readers = [asyncio.create_task(waiters.wait("orders", "o1", lambda: "o1" in rows, 30)) for _ in range(3)]
    await asyncio.sleep(0)  # each runs until it waits
    assert waiters.waiting == 3
    waiters.wake("orders", 0, ["another"])
    waiters.wake("stock", 0, ["o1"])
    rows.add("o1")
    waiters.wake("orders", 0, ["o1"])
    assert await asyncio.gather(*readers) == [True] * 3
    assert waiters.waiting == 0


async def test_a_commit_that_is_not_enough_leaves_the_reader_waiting() -> None:
    waiters, seen = Waiters(), [0]
    reader = asyncio.create_task(waiters.wait("orders", "o1", lambda: seen[0] >= 2, 30))
    await asyncio.sleep(0)
    assert waiters.waiting == 1
    for version in (1, 2):
        seen[0] = version
        waiters.wake("orders", 0, {"o1"})
        await asyncio.sleep(0)
    assert await reader


async def test_a_reader_gives_up_after_its_bound_and_leaves_nothing_behind() -> None:
    waiters = Waiters()
    assert not await waiters.wait("orders", "o1", lambda: False, 0.01)
    assert waiters.waiting == 0
