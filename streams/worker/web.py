"""The worker's HTTP: probes, metrics and queries, up from the first second of the process, recovery included."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from streams.worker.reading import (
    PAGE_LIMIT_DEFAULT,
    PAGE_LIMIT_MAX,
    Found,
    NoSuchTable,
    NotOurs,
    Reader,
    Recovering,
    WantedSagas,
)
from streams.worker.waiting import Waiters

WAIT_MS_DEFAULT = 2_000
WAIT_MS_MAX = 60_000
SAGA_AGE_MAX_S = 10**9
# A reader that still waits when the worker is told to end.
SHUTDOWN_WITHIN_S = 1.0

Progress = Callable[[], dict[str, Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """The handlers; `progress` tells `{ready, started, restored, to_restore, …}` at any time."""

    def __init__(self, reader: Reader, waiters: Waiters, progress: Progress, registry: CollectorRegistry) -> None:
        self._reader, self._waiters, self._progress, self._registry = reader, waiters, progress, registry

    def application(self) -> web.Application:
        """All routes."""
        app = web.Application(middlewares=[_problems])
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._probe("ready"))
        app.router.add_get("/startupz", self._probe("started"))
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/tables", self._tables)
        app.router.add_get("/tables/{name}", self._page)
        app.router.add_get("/tables/{name}/{key:.+}", self._row)
        app.router.add_get("/sagas", self._sagas)
        app.router.add_get("/sagas/{order_id}", self._saga)
        return app

    async def _livez(self, _: web.Request) -> web.Response:
        return _json(200, {"alive": True})

    def _probe(self, what: str) -> Handler:
        async def probe(_: web.Request) -> web.Response:
            progress = self._progress()
            return _json(200 if progress[what] else 503, {**progress, "pid": os.getpid()})

        return probe

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _tables(self, _: web.Request) -> web.Response:
        return _json(200, self._reader.tables())

    async def _row(self, request: web.Request) -> web.Response:
        name, key = request.match_info["name"], request.match_info["key"]
        version = _number(request, "version", 0, 0, 1 << 62)
        wait_ms = _number(request, "wait_ms", WAIT_MS_DEFAULT if version else 0, 0, WAIT_MS_MAX)
        found: Found | None = None

        def is_there() -> bool:
            nonlocal found
            found = self._reader.find(name, key)
            return found is not None and found.value.get("version", 0) >= version

        there = await self._waiters.wait(name, key, is_there, wait_ms / 1000)
        if not there and version:
            raise _problem(503, f"{name}/{key} did not reach version {version} in {wait_ms} ms", {"Retry-After": "1"})
        if found is None:
            raise _problem(404, f"{name} has no {key!r}")
        return _json(200, self._reader.dress(name, found))

    async def _page(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        limit = _number(request, "limit", PAGE_LIMIT_DEFAULT, 1, PAGE_LIMIT_MAX)
        after = _from_cursor(request.query.get("cursor"))
        found, last = self._reader.page(name, request.query.get("prefix", ""), after, limit)
        items = [self._reader.dress(name, one) for one in found]
        return _json(200, {"items": items, "next": None if last is None else _to_cursor(last)})

    async def _sagas(self, request: web.Request) -> web.Response:
        limit = _number(request, "limit", PAGE_LIMIT_DEFAULT, 1, PAGE_LIMIT_MAX)
        asked = {name: request.query.get(name) or None for name in ("state", "step", "error")}
        asked["state"] = asked["state"] and asked["state"].upper()
        older_s = _number(request, "older_s", 0, 0, SAGA_AGE_MAX_S) or None
        items = self._reader.sagas(WantedSagas(**asked, older_s=older_s), limit)
        return _json(200, {"items": items, "next": None})

    async def _saga(self, request: web.Request) -> web.Response:
        order_id = request.match_info["order_id"]
        found = self._reader.find("order_sagas", order_id)
        if found is None:
            raise _problem(404, f"no saga of order {order_id!r}")
        return _json(200, self._reader.saga(found.value, found.partition))


async def serve(application: web.Application, host: str, port: int) -> web.AppRunner:
    """Listens; the caller cleans the runner up. Raises PortTaken."""
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_WITHIN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise PortTaken(host, port, error) from error
    return runner


class PortTaken(Exception):
    """The worker cannot listen on the port that it was given."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(f"cannot listen on {host} port {port}: {error.strerror or error}")


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What a reader cannot answer, as RFC 9457 problem details."""
    try:
        return await handler(request)
    except Recovering:
        raise _problem(503, "the tables are being restored", {"Retry-After": "1"}) from None
    except NotOurs as elsewhere:
        raise _problem(421, str(elsewhere)) from None
    except NoSuchTable as missing:
        raise _problem(404, f"there is no table {missing}") from None


class _Problem(web.HTTPException):
    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.status_code = status
        super().__init__(body=body, headers=headers, content_type="application/problem+json")


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> web.HTTPException:
    return _Problem(status, orjson.dumps({"status": status, "title": _TITLES[status], "detail": detail}), headers or {})


_TITLES = {
    400: "Bad request",
    404: "Not found",
    421: "Another worker owns this key",
    503: "Not ready",
}


def _json(status: int, document: Any) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")


def _number(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isdecimal() or not low <= int(text) <= high:
        raise _problem(400, f"{name} is not a whole number from {low} to {high}")
    return int(text)


def _to_cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _from_cursor(cursor: str | None) -> str | None:
    if not cursor:
        return None
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise _problem(400, "this cursor is none of ours") from None
