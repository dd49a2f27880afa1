"""Replays for programs: `await tally.replay(...)`, and `tally.sync.replay(...)`.

    standing = await tally.replay("orders.events", "file:orders.avro", tally.Bounds(types=("ORDER_CREATED",)))
    await tally.replay("orders.events", handle)                 # handle(event), a function or a coroutine function
    await tally.replay("orders.events", "topic:orders.copy", id="copy", rate=500)
    await tally.resume_replay("copy")                           # after a crash or a cancellation

A standing is what `tally replay status ID` prints. Into a topic or a file each record comes exactly once, over crashes
too; a function of yours gets the last records of a batch again after a crash.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from threading import Event
from typing import Any

from schemas.codec import AvroCodec
from schemas.envelope import Message, to_json
from tally.reading.reader import Record
from tally.replaying.asked import EVERYTHING, Bounds
from tally.replaying.planning import Asked
from tally.replaying.replays import Replays, Work
from tally.replaying.standing import Standing
from tally.replaying.targets import Into, Kind, Shown, parse_into
from tally.settings import Settings

# An event is `{id, type, aggregateId, data, timestamp, version}`.
Handle = Callable[[dict[str, Any]], Awaitable[None] | None]


async def replay(
    topics: str | Sequence[str],
    into: str | Handle,
    bounds: Bounds = EVERYTHING,
    *,
    rate: float | None = None,
    id: str = "",
    side_effects: Sequence[str] = (),
    reason: str = "",
    bootstrap: str | None = None,
) -> dict[str, Any]:
    """Replays to the end and tells how it stands; to cancel it is to pause it.

    `into` is a function, `topic:NAME` or `file:PATH`; `rate` in records a second. Raises
    `tally.replaying.errors.ReplayError` and its children, `tally.reading.reader.Unreachable` and `UnknownTopic`.
    """
    asked = _asked(topics, into, bounds, rate, id, side_effects, reason)
    return await _in_thread(into, lambda work: _start(bootstrap, asked, work))


async def resume_replay(
    id: str,
    handle: Handle | None = None,
    *,
    rate: float | None = None,
    reason: str = "",
    bootstrap: str | None = None,
) -> dict[str, Any]:
    """Goes on with a replay that was paused, or whose process died; `handle` where it goes to a function."""
    return await _in_thread(handle, lambda work: _resume(bootstrap, id, rate, reason, work))


def replay_now(
    topics: str | Sequence[str],
    into: str | Handle,
    bounds: Bounds = EVERYTHING,
    *,
    rate: float | None = None,
    id: str = "",
    side_effects: Sequence[str] = (),
    reason: str = "",
    bootstrap: str | None = None,
) -> dict[str, Any]:
    """`replay` for programs without an event loop."""
    asked = _asked(topics, into, bounds, rate, id, side_effects, reason)
    return _start(bootstrap, asked, Work(Shown(_plain(into)), Event()))


def resume_replay_now(
    id: str,
    handle: Handle | None = None,
    *,
    rate: float | None = None,
    reason: str = "",
    bootstrap: str | None = None,
) -> dict[str, Any]:
    """`resume_replay` for programs without an event loop."""
    return _resume(bootstrap, id, rate, reason, Work(Shown(_plain(handle)), Event()))


def _asked(
    topics: str | Sequence[str],
    into: str | Handle,
    bounds: Bounds,
    rate: float | None,
    id_: str,
    side_effects: Sequence[str],
    reason: str,
) -> Asked:
    named = (topics,) if isinstance(topics, str) else tuple(topics)
    target = parse_into(into) if isinstance(into, str) else Into(Kind.PRINT)
    return Asked(named, target, bounds, rate, id_, tuple(side_effects), reason)


async def _in_thread(into: str | Handle | None, go: Callable[[Work], dict[str, Any]]) -> dict[str, Any]:
    """Runs `go` in a thread; a cancellation waits until the replay stands paused."""
    stop, loop = Event(), asyncio.get_running_loop()
    working = asyncio.ensure_future(asyncio.to_thread(go, Work(Shown(_awaited(into, loop)), stop)))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stop.set()
        await working
        raise


def _start(bootstrap: str | None, asked: Asked, work: Work) -> dict[str, Any]:
    with _replays(bootstrap) as replays:
        return _told(replays.start(replays.plan(asked, datetime.now(UTC)), work))


def _resume(bootstrap: str | None, id_: str, rate: float | None, reason: str, work: Work) -> dict[str, Any]:
    with _replays(bootstrap) as replays:
        return _told(replays.resume(id_, rate, work, reason))


def _replays(bootstrap: str | None) -> Replays:
    return Replays(Settings(kafka_bootstrap=bootstrap).kafka_bootstrap, AvroCodec())


def _told(standing: Standing) -> dict[str, Any]:
    return standing.in_full(standing.at_ms)


def _plain(into: str | Handle | None) -> Callable[[Record, Message], None]:
    def show(_: Record, message: Message) -> None:
        if callable(into):
            into(to_json(message))

    return show


def _awaited(into: str | Handle | None, loop: asyncio.AbstractEventLoop) -> Callable[[Record, Message], None]:
    """As `_plain`, but a coroutine function runs in the caller's event loop, one record after the other."""
    if not inspect.iscoroutinefunction(into):
        return _plain(into)

    def show(_: Record, message: Message) -> None:
        asyncio.run_coroutine_threadsafe(into(to_json(message)), loop).result()

    return show
