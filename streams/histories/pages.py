"""What a worker tells of the histories that it has indexed.

`GET /histories/{aggregatetype}/{id}?from=&to=`: the events of one aggregate.
`GET /histories-sums/{aggregatetype}?until=0:120,1:80&after=`: what its rows come to, by partition, for `tally fsck`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice

import orjson
from aiohttp import web

from faust_rdkafka import partition_of
from schemas.histories import Row, Sum
from schemas.topics import EVENT_TOPICS, PARTITIONS
from streams.histories.index import HistoryIndex

# About 1 MB of events of orders; a longer history is read page by page.
PAGE_EVENTS = 1_000
# A page of sums takes some ten milliseconds of the worker's time; the agents go on between two.
PAGE_SUMMED = 2_000
VERSION_MAX = (1 << 63) - 1
AGGREGATE_TYPES = frozenset(topic.removesuffix(".events") for topic in EVENT_TOPICS)


def add_histories(
    application: web.Application, find: Callable[[], HistoryIndex | None], owned: Callable[[], set[int]]
) -> None:
    """Adds the route over the index that `find` gives, None while it is not open.

    The page is `{items, next}`: rows of `schemas.histories`; `next` is the version to go on from.
    """

    async def history(request: web.Request) -> web.Response:
        aggregatetype, aggregate_id = request.match_info["type"], request.match_info["id"]
        if aggregatetype not in AGGREGATE_TYPES:
            return _problem(404, f"there are no histories of {aggregatetype}")
        if partition_of(aggregate_id.encode(), PARTITIONS) not in owned():
            return _problem(421, f"another worker owns {aggregatetype}/{aggregate_id}")
        index = find()
        if index is None:
            return _problem(503, "the index of histories is not open yet")
        try:
            first, last = _versions(request)
        except ValueError:
            return _problem(400, f"from and to are versions: whole numbers from 1 to {VERSION_MAX}")
        rows = await asyncio.to_thread(_page, index, (aggregatetype, aggregate_id), first, last)
        more = rows[PAGE_EVENTS:]
        next_ = None if not more else int(more[0]["headers"]["aggregateversion"])
        return web.Response(
            body=orjson.dumps({"items": rows[:PAGE_EVENTS], "next": next_}), content_type="application/json"
        )

    async def sums(request: web.Request) -> web.Response:
        aggregatetype, index = request.match_info["type"], find()
        if aggregatetype not in AGGREGATE_TYPES:
            return _problem(404, f"there are no histories of {aggregatetype}")
        if index is None:
            return _problem(503, "the index of histories is not open yet")
        reached = {n: index.position(f"{aggregatetype}.events", n) for n in sorted(owned())}
        ends = {n: 0 if position is None else position.next_offset for n, position in reached.items()}
        try:
            until, after = _until(request, ends), bytes.fromhex(request.query.get("after", ""))
        except ValueError:
            return _problem(400, "until is partition:offset by comma, after is what the page before gave")
        found = {n: Sum(offset) for n, offset in until.items()}
        next_ = await asyncio.to_thread(index.add_up, aggregatetype, after, PAGE_SUMMED, found)
        told = {str(n): [each.until, each.events, each.digest] for n, each in found.items()}
        return web.Response(body=orjson.dumps({"sums": told, "next": next_.hex()}), content_type="application/json")

    application.router.add_get("/histories-sums/{type}", sums)
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]] = history
    application.router.add_get("/histories/{type}/{id:.+}", handler)


def _page(index: HistoryIndex, of: tuple[str, str], first: int, last: int) -> list[Row]:
    return list(islice(index.read(*of, first, last), PAGE_EVENTS + 1))


def _versions(request: web.Request) -> tuple[int, int]:
    first, last = int(request.query.get("from", "1")), int(request.query.get("to", str(VERSION_MAX)))
    if not 1 <= first <= VERSION_MAX or not 0 <= last <= VERSION_MAX:
        raise ValueError
    return first, last


def _until(request: web.Request, ends: dict[int, int]) -> dict[int, int]:
    """Offsets by partition that the sums end before: what is asked, else what is indexed."""
    text = request.query.get("until", "")
    if not text:
        return ends
    return {int(number): int(offset) for number, _, offset in (pair.partition(":") for pair in text.split(","))}


def _problem(status: int, detail: str) -> web.Response:
    body = orjson.dumps({"status": status, "detail": detail})
    return web.Response(status=status, body=body, content_type="application/problem+json")
