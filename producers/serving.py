"""Serves an application: one process, one loop, an orderly end."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

SHUTDOWN_WITHIN_S = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen."""

    host: str
    port: int


def serve(app: FastAPI, place: Place) -> None:
    """Runs until SIGTERM or SIGINT; what is being answered then has SHUTDOWN_WITHIN_S to end."""
    # uvicorn ends in order, then raises the signal again for whoever handled it before.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        app,
        host=place.host,
        port=place.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_WITHIN_S,
    )
