"""The sandbox of a payment provider: a server of its own that behaves as the reference of a payment says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import BaseModel, ConfigDict, Field

# How long `tok_slow` takes, and how often `tok_flaky` fails before it works.
SLOW_S = 2.0
FLAKY_FAILURES = 2
# `tok_timeout`: nobody waits this long.
NEVER_S = 24 * 60 * 60.0

# Told of a part that was given back.
PART_REFUNDED = "PART_REFUNDED"

_TABLE = """
create table if not exists payments (
    key text primary key,
    amount_minor integer not null,
    currency text not null,
    reference text not null,
    status text not null,
    reason text,
    tries integer not null default 0
)
"""
_REFUNDS = """
create table if not exists refunds (
    key text not null, number integer not null, amount_minor integer not null, primary key (key, number)
)
"""


class Status(StrEnum):
    """What the provider knows of a payment; UNKNOWN: nothing at all."""

    PENDING = "PENDING"
    AUTHORISED = "AUTHORISED"
    DECLINED = "DECLINED"
    CAPTURED = "CAPTURED"
    VOIDED = "VOIDED"
    REFUNDED = "REFUNDED"
    UNKNOWN = "UNKNOWN"


class Part(BaseModel):
    """The body of a refund of a part; money in minor units."""

    model_config = ConfigDict(strict=True, extra="forbid")

    amount_minor: Annotated[int, Field(ge=1)]


class Asked(BaseModel):
    """The body of an authorisation; money in minor units."""

    model_config = ConfigDict(strict=True, extra="forbid")

    amount_minor: Annotated[int, Field(ge=0)]
    currency: str
    reference: str


@dataclass(frozen=True, slots=True)
class Payment:
    """One row of the provider's book."""

    key: str
    amount_minor: int
    currency: str
    reference: str
    status: str
    reason: str | None
    tries: int

    def to_json(self) -> dict[str, Any]:
        """As the provider tells it."""
        return {
            "key": self.key,
            "amount_minor": self.amount_minor,
            "currency": self.currency,
            "reference": self.reference,
            "status": self.status,
            "reason": self.reason,
        }


class Book:
    """The provider's memory: SQLite, written through at each step, so that a kill forgets nothing."""

    def __init__(self, file: Path | str) -> None:
        # One loop uses it; isolation_level None: each statement is kept when it returns.
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute(_TABLE)
        self._connection.execute(_REFUNDS)

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def find(self, key: str) -> Payment | None:
        """The payment under an idempotency key."""
        row = self._connection.execute("select * from payments where key = ?", (key,)).fetchone()
        return None if row is None else Payment(*row)

    def all(self) -> Iterator[Payment]:
        """Every payment, by key."""
        for row in self._connection.execute("select * from payments order by key"):
            yield Payment(*row)

    def note(self, key: str, asked: Asked) -> Payment:
        """Counts one more try of a payment, PENDING at first."""
        self._connection.execute(
            "insert into payments (key, amount_minor, currency, reference, status, tries) values (?, ?, ?, ?, ?, 1)"
            " on conflict (key) do update set tries = tries + 1",
            (key, asked.amount_minor, asked.currency, asked.reference, Status.PENDING),
        )
        found = self.find(key)
        assert found is not None, "it was written by the statement before"
        return found

    def fence(self, key: str) -> None:
        """Notes an unknown key as VOIDED: its authorisation, should it still come, finds that."""
        self._connection.execute(
            "insert into payments (key, amount_minor, currency, reference, status) values (?, 0, '', '', ?)",
            (key, Status.VOIDED),
        )

    def refund(self, key: str, number: int, amount_minor: int) -> str:
        """Gives a part of captured money back, once for each number: PART_REFUNDED, or else the payment's status."""
        payment, parts = self.find(key), self.refunded(key)
        if payment is None:
            return Status.UNKNOWN
        if number in parts:
            return PART_REFUNDED if parts[number] == amount_minor else payment.status
        left = payment.amount_minor - sum(parts.values())
        if payment.status != Status.CAPTURED or amount_minor > left:
            return payment.status
        self._connection.execute("insert into refunds values (?, ?, ?)", (key, number, amount_minor))
        if amount_minor == left:
            self.move(key, (Status.CAPTURED,), Status.REFUNDED)
        return PART_REFUNDED

    def refunded(self, key: str) -> dict[int, int]:
        """The parts that were given back: amount by number."""
        rows = self._connection.execute("select number, amount_minor from refunds where key = ?", (key,))
        return dict(rows.fetchall())

    def move(self, key: str, from_: tuple[str, ...], to: str, reason: str | None = None) -> Payment | None:
        """Changes the status where it is one of `from_`; the payment as it is afterwards."""
        marks = ", ".join("?" for _ in from_)
        self._connection.execute(
            f"update payments set status = ?, reason = ? where key = ? and status in ({marks})",
            (to, reason, key, *from_),
        )
        return self.find(key)


def make_sandbox(file: Path | str, slow_s: float = SLOW_S) -> FastAPI:
    """The provider over its book; `file` may be ":memory:"."""
    book = Book(file)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        book.close()

    app = FastAPI(title="Sandbox of a payment provider", lifespan=lifespan)
    _add_writes(app, book, slow_s)
    _add_reads(app, book)
    return app


Key = Annotated[str, InPath(min_length=1, max_length=200)]


def _add_writes(app: FastAPI, book: Book, slow_s: float) -> None:
    @app.put("/payments/{key}")
    async def authorise(key: Key, asked: Asked) -> JSONResponse:
        """Authorises, or declines; the same key gets the same answer, with other content 422."""
        known = book.find(key)
        if known is not None and known.status != Status.PENDING:
            return _told(known)
        if known is not None and (known.amount_minor, known.currency, known.reference) != (
            asked.amount_minor,
            asked.currency,
            asked.reference,
        ):
            return JSONResponse({"error": "the key is known with other content"}, 422)
        noted = book.note(key, asked)
        match asked.reference:
            case "tok_timeout":
                await asyncio.sleep(NEVER_S)
            case "tok_flaky" if noted.tries <= FLAKY_FAILURES:
                return JSONResponse({"error": "try again"}, 503)
            case "tok_decline":
                return _told(book.move(key, (Status.PENDING,), Status.DECLINED, "PAYMENT_DECLINED"))
            case "tok_slow":
                await asyncio.sleep(slow_s)
        if asked.reference not in ("tok_ok", "tok_slow", "tok_flaky"):
            return _told(book.move(key, (Status.PENDING,), Status.DECLINED, "PAYMENT_DECLINED"))
        return _told(book.move(key, (Status.PENDING,), Status.AUTHORISED))

    @app.post("/payments/{key}/capture")
    async def capture(key: Key) -> JSONResponse:
        """Takes authorised money; 409 with the status where there is none to take."""
        return _moved(book.move(key, (Status.AUTHORISED,), Status.CAPTURED), Status.CAPTURED)

    @app.post("/payments/{key}/void")
    async def void(key: Key) -> JSONResponse:
        """Gives back what is authorised; what is unknown or pending will not be authorised any more."""
        if book.find(key) is None:
            book.fence(key)
        return _moved(book.move(key, (Status.PENDING, Status.AUTHORISED), Status.VOIDED), Status.VOIDED)

    @app.post("/payments/{key}/refund")
    async def refund(key: Key) -> JSONResponse:
        """Gives back what was captured."""
        return _moved(book.move(key, (Status.CAPTURED,), Status.REFUNDED), Status.REFUNDED)

    @app.put("/payments/{key}/refunds/{number}")
    async def refund_part(key: Key, number: int, part: Part) -> JSONResponse:
        """Gives a part of captured money back, once for each number; 409 where that cannot be."""
        status = book.refund(key, number, part.amount_minor)
        return JSONResponse({"status": status, "reason": None}, 200 if status == PART_REFUNDED else 409)


def _add_reads(app: FastAPI, book: Book) -> None:
    @app.get("/payments/{key}")
    async def status(key: Key) -> JSONResponse:
        """What the provider knows under a key; 404 for nothing."""
        return _told(book.find(key))

    @app.get("/payments")
    async def listing() -> dict[str, Any]:
        """Every payment, for comparing books."""
        return {"items": [payment.to_json() for payment in book.all()]}

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus' text form: how many payments there are in each status."""
        registry = CollectorRegistry()
        payments = Gauge("tally_sandbox_payments", "payments by status", ("status",), registry=registry)
        for payment in book.all():
            payments.labels(payment.status).inc()
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/livez")
    @app.get("/readyz")
    @app.get("/startupz")
    async def lives() -> dict[str, Any]:
        """The process answers."""
        return {"ok": True, "pid": os.getpid()}


def _told(payment: Payment | None) -> JSONResponse:
    if payment is None:
        return JSONResponse({"status": Status.UNKNOWN, "reason": None}, 404)
    return JSONResponse(payment.to_json())


def _moved(payment: Payment | None, wanted: Status) -> JSONResponse:
    if payment is None:
        return _told(payment)
    return JSONResponse(payment.to_json(), 200 if payment.status == wanted else 409)
