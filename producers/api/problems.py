"""Every error as RFC 9457 problem details, each with a type that stays the same."""

from __future__ import annotations

import math
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_problem.error import Problem
from fastapi_problem.handler import ExceptionHandler, add_exception_handler, new_exception_handler
from psycopg_pool import PoolTimeout
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from producers.errors import Busy, CommandIdReused, StillRunning
from schemas.errors import EVENT_DAMAGED, Conflict, Damaged, DamagedRecord

# A held row is let go within seconds, a recovery takes about as long; asking more often helps nobody.
RETRY_AFTER_S = 1
# A body may have thousands of faults; the first ones are enough to mend it.
FAULTS_MAX = 20

_log = structlog.stdlib.get_logger(__name__)


def bad_request(type_: str, detail: str) -> Problem:
    """400: the request itself cannot be understood."""
    return Problem("Bad request", type_=type_, detail=detail, status=400)


def not_found(type_: str, detail: str) -> Problem:
    """404."""
    return Problem("Not found", type_=type_, detail=detail, status=404)


def conflict(type_: str, detail: str, retry_after_s: float | None = None, **extras: Any) -> Problem:
    """409, with Retry-After where the same request may succeed later."""
    return Problem("Conflict", type_=type_, detail=detail, status=409, headers=_retry(retry_after_s), **extras)


def invalid(type_: str, detail: str, **extras: Any) -> Problem:
    """422: understood, and wrong."""
    return Problem("Invalid", type_=type_, detail=detail, status=422, **extras)


def unavailable(type_: str, detail: str, retry_after_s: float = RETRY_AFTER_S, **extras: Any) -> Problem:
    """503 with Retry-After."""
    return Problem("Not available now", type_=type_, detail=detail, status=503, headers=_retry(retry_after_s), **extras)


def too_large(bytes_max: int) -> Problem:
    """413."""
    return Problem("Too large", type_="body-too-large", detail=f"a body has at most {bytes_max} bytes", status=413)


async def answer(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends a problem where no route is involved."""
    response = JSONResponse(problem.marshal(), problem.status, media_type="application/problem+json")
    await response(scope, receive, send)


def install(app: FastAPI) -> None:
    """Turns every exception that leaves a route into problem details."""
    known = {
        Busy: _busy,
        Conflict: _moved,
        StillRunning: _still_running,
        CommandIdReused: _reused,
        Damaged: _damaged,
        PoolTimeout: _database_away,
        psycopg.OperationalError: _database_away,
    }
    handler = new_exception_handler(handlers=dict(known), request_validation_handler=_invalid_request)
    # Last, for the first that fits is taken.
    handler.handlers[Exception] = _unexpected
    add_exception_handler(app, handler)
    for error in known:
        # Named one by one: what only "Exception" catches is taken for a fault of the server and logged.
        app.add_exception_handler(error, handler)


def _busy(_: ExceptionHandler, __: Request, error: Exception) -> Problem:
    return conflict("busy", "another transaction holds what this one needs", RETRY_AFTER_S)


def _moved(_: ExceptionHandler, __: Request, error: Exception) -> Problem:
    return conflict("history-moved", str(error), RETRY_AFTER_S)


def _still_running(_: ExceptionHandler, __: Request, error: Exception) -> Problem:
    return conflict("idempotency-key-running", "the first request with this Idempotency-Key still runs", RETRY_AFTER_S)


def _reused(_: ExceptionHandler, __: Request, error: Exception) -> Problem:
    return invalid("idempotency-key-reused", "this Idempotency-Key was used with another body")


def _damaged(_: ExceptionHandler, __: Request, error: Exception) -> Problem:
    assert isinstance(error, Damaged)
    # Trying again helps nobody; so it is no 503.
    _log.error("an event cannot be read", place=error.place, reason=error.reason)
    told: dict[str, Any] = {"place": error.place, "reason": error.reason, "remedy": error.remedy}
    if isinstance(error, DamagedRecord):
        told |= {"topic": error.topic, "partition": error.partition, "offset": error.offset}
    return Problem("Damaged", type_=EVENT_DAMAGED, detail=str(error), status=500, **told)


def _database_away(_: ExceptionHandler, __: Request, error: Exception) -> Problem:
    return unavailable("database-out-of-reach", "the service's database does not answer")


def _unexpected(_: ExceptionHandler, __: Request, error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    # Its text may hold data of somebody else; so it stands in the log alone, where the server puts it.
    return Problem("Internal error", type_="internal-error", detail="see the log of the API", status=500)


def _invalid_request(_: ExceptionHandler, request: Request, error: RequestValidationError) -> Problem:
    faults = error.errors()
    without_body = request.headers.get("content-length") == "0" and any(fault["loc"] == ("body",) for fault in faults)
    if without_body or any(fault["type"] == "json_invalid" for fault in faults):
        return bad_request("malformed-json", "the body is no JSON")
    # What was given is left out: it may be long, personal, or no text that can be sent back.
    told = [
        {"at": "/".join(_printable(str(part)) for part in fault["loc"]), "type": fault["type"], "what": fault["msg"]}
        for fault in faults[:FAULTS_MAX]
    ]
    return invalid("request-validation-failed", f"{len(faults)} fault(s) in the request", errors=told)


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _retry(after_s: float | None) -> dict[str, str] | None:
    return None if after_s is None else {"Retry-After": str(math.ceil(after_s))}
