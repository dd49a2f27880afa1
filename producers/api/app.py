"""The application: routes, problems, metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producers.api import (
    commands,
    customers,
    letters,
    orders,
    probes,
    problems,
    saga_histories,
    sagas,
    schema_registry,
    stock,
    tables,
    wallets,
)
from producers.api.parts import Parts
from producers.api.probes import Measured, RequestMetrics

# 2,000 lines of the longest names take about 400 KB.
BODY_BYTES_MAX = 1 << 20
# Writes block a thread each, and each holds a connection: more threads than connections would only wait.
THREADS_MAX = 16

Closing = Callable[[], Awaitable[None]]


def make_app(parts: Parts, close: Closing | None = None) -> FastAPI:
    """The API over its parts; `close` is awaited when it ends."""
    app = FastAPI(
        title="Tally",
        version="1",
        description="Orders and stock. Writes need an Idempotency-Key and return a Consistency-Token.",
        lifespan=_closed_by(close),
    )
    app.state.parts = parts
    app.state.metrics = RequestMetrics()
    app.add_middleware(Measured, metrics=app.state.metrics)
    app.add_middleware(JsonBodies)
    for resource in (
        orders,
        customers,
        stock,
        wallets,
        sagas,
        saga_histories,
        letters,
        commands,
        tables,
        schema_registry,
        probes,
    ):
        app.include_router(resource.router)
    problems.install(app)
    return app


class JsonBodies:
    """Takes every body for JSON, whatever it calls itself, and refuses one beyond BODY_BYTES_MAX with 413.

    `curl -d` calls its bodies forms; no route of ours takes one, and nothing here rests on a browser's cookies.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application around another."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length")
        if length is not None and length.isdigit() and int(length) > BODY_BYTES_MAX:
            await problems.answer(problems.too_large(BODY_BYTES_MAX), scope, receive, send)
            return
        headers = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
        scope = {**scope, "headers": [*headers, (b"content-type", b"application/json")]}
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_BYTES_MAX:
                # Sent in parts and without a length: the rest is not waited for.
                raise problems.too_large(BODY_BYTES_MAX)
            return message

        await self._app(scope, limited, send)


def _closed_by(close: Closing | None) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS_MAX
        yield
        if close is not None:
            await close()

    return lifespan
