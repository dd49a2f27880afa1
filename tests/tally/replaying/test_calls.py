"""Replays from a program: `tally.replay` and its twin without an event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from replay_source import BODIES, ORDERS, Source

import tally
import tally.sync
from tally.replaying.errors import WrongReplay

ALL = ORDERS * len(BODIES)


async def test_a_coroutine_function_gets_each_event_in_the_callers_loop(source: Source, id_: str) -> None:
    got: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()

    async def handle(event: dict[str, Any]) -> None:
        assert asyncio.get_running_loop() is loop
        got.append(event)

    bounds = tally.Bounds(keys=("o1",))
    told = await tally.replay(source.topic, handle, bounds, id=id_, bootstrap=source.kafka)
    assert (told["state"], told["written"]) == ("DONE", len(BODIES))
    assert [(event["aggregateId"], event["version"], event["type"]) for event in got] == [
        ("o1", 1, "ORDER_CREATED"),
        ("o1", 2, "ORDER_CONFIRMED"),
        ("o1", 3, "ORDER_SHIPPED"),
    ]


async def test_to_cancel_is_to_pause(source: Source, id_: str) -> None:
    got: list[str] = []
    first = asyncio.Event()

    async def handle(event: dict[str, Any]) -> None:
        got.append(event["id"])
        first.set()

    running = asyncio.create_task(tally.replay(source.topic, handle, rate=2, id=id_, bootstrap=source.kafka))
    await first.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert 0 < len(got) < ALL
    told = await tally.resume_replay(id_, handle, rate=100_000, bootstrap=source.kafka)
    assert (told["state"], len(got), len(set(got))) == ("DONE", ALL, ALL)


def test_a_program_without_a_loop_has_the_same(source: Source, id_: str) -> None:
    copy = source.another()
    told = tally.sync.replay([source.topic], f"topic:{copy}", id=id_, bootstrap=source.kafka)
    assert (told["state"], len(source.read(copy))) == ("DONE", ALL)
    with pytest.raises(WrongReplay):
        tally.sync.replay(source.topic, "topic:orders.events", bootstrap=source.kafka)


def test_a_function_that_raises_leaves_a_replay_that_failed(source: Source, id_: str) -> None:
    got: list[str] = []

    def handle(event: dict[str, Any]) -> None:
        if len(got) == 4:
            raise RuntimeError("no more")
        got.append(event["id"])

    with pytest.raises(RuntimeError, match="no more"):
        tally.sync.replay(source.topic, handle, id=id_, bootstrap=source.kafka)
    standing = source.document("status", id_)
    assert (standing["state"], standing["note"], standing["written"]) == ("FAILED", "no more", 0)
    assert tally.sync.resume_replay(id_, got.append, bootstrap=source.kafka)["state"] == "DONE"
