"""`/livez`, `/readyz`, `/startupz`, `/metrics`: for whoever runs the process."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producers.api.parts import ThePart

router = APIRouter(tags=["probes"])

# From a read of a copy to a wait for a version.
BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RequestMetrics:
    """How long requests take, by method, route and status; a registry of its own, so that a process may hold many."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "tally_http_request_seconds",
            "time from request to answer",
            ("method", "route", "status"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        """Counts one request that was answered."""
        self._seconds.labels(scope["method"], _route(scope), str(status)).observe(seconds)


class Measured:
    """Measures every request of an application around which it stands; `metrics` keeps the times."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application around another: Starlette's own way to write one takes a task and a stream a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()

        async def noting(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                self._metrics.note(scope, message["status"], time.monotonic() - began)

        await self._app(scope, receive, noting)


@router.get("/livez")
@router.get("/startupz")
async def lives() -> dict[str, Any]:
    """The process answers."""
    return {"ok": True}


@router.get("/readyz")
async def ready(parts: ThePart, response: Response) -> dict[str, Any]:
    """Whether everything that a request needs can be reached."""
    names = list(parts.checks)
    found = await asyncio.gather(*(asyncio.to_thread(parts.checks[name]) for name in names))
    wrong = {name: what for name, what in zip(names, found, strict=True) if what is not None}
    response.status_code = 503 if wrong else 200
    return {"ok": not wrong, "wrong": wrong, "pid": os.getpid()}


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus' text form."""
    measured: RequestMetrics = request.app.state.metrics
    return Response(generate_latest(measured.registry), media_type=CONTENT_TYPE_LATEST)


def _route(scope: Scope) -> str:
    """The route's template: ids in a label would make a time series for every order."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    for candidate in scope["app"].routes:
        if candidate.matches(scope)[0] is Match.FULL:
            return str(getattr(candidate, "path", ""))
    return "unknown"
