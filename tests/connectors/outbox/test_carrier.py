"""The loop that carries, with everything around it made up."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.outbox.carrier import Carrier
from connectors.outbox.config import OutboxConfig, Routing
from connectors.outbox.errors import MalformedStream
from connectors.outbox.metrics import Metrics
from connectors.outbox.pgoutput import Relation
from connectors.outbox.positions import StoredPosition
from connectors.outbox.routing import Route

CONFIG = OutboxConfig("name", "", "", "public.outbox", "slot")
COLUMNS = ("id", "aggregatetype", "aggregateid", "payload")
TEXT = 25


def framed(message: bytes) -> bytes:
    return b"w" + bytes(24) + message


def relation() -> bytes:
    columns = b"".join(b"\0" + name.encode() + b"\0" + struct.pack(">Ii", TEXT, -1) for name in COLUMNS)
    return framed(b"R" + struct.pack(">I", 7) + b"public\0outbox\0d" + struct.pack(">H", len(COLUMNS)) + columns)


def transaction(number: int) -> list[bytes]:
    """Of one row."""
    values = b"".join(b"t" + struct.pack(">I", 1) + b"x" for _ in COLUMNS)
    return [
        framed(b"B" + struct.pack(">QqI", number, 0, number)),
        framed(b"I" + struct.pack(">I", 7) + b"N" + struct.pack(">H", len(COLUMNS)) + values),
        framed(b"C\0" + struct.pack(">QQq", number, number + 1, 0)),
    ]


BEGIN, INSERT, COMMIT = transaction(10)


class StreamOnce:
    """Has these frames."""

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = frames

    def frames(self) -> Iterator[bytes]:
        yield from self._frames


class SteadyStream:
    """Has a row whenever it is read; stops the carrier after `reads`."""

    def __init__(self, reads: int, stop: threading.Event) -> None:
        self.read, self._reads, self._stop = 0, reads, stop

    def frames(self) -> Iterator[bytes]:
        if self.read == self._reads:
            self._stop.set()
            return
        self.read += 1
        yield from [relation()] if self.read == 1 else []
        yield from transaction(self.read * 10)

    def wait(self, timeout_s: float) -> None:
        raise AssertionError("there is something to carry")

    def confirm(self, stored: int, at_once: bool = False) -> None:
        self.confirmed = stored


class Taken:
    """A publisher and a sender that take everything."""

    is_open, opened_at = False, 0.0

    def begin(self) -> None:
        self.is_open = True

    def commit(self, stored: StoredPosition) -> None:
        self.is_open = False

    def send_frame(self, *row: Any) -> None: ...

    def settle(self) -> None: ...

    def trust(self) -> None: ...

    def abort(self) -> None: ...


class OneTable:
    def route(self, relation: Relation) -> Route:
        return Route(Routing(), relation.columns)


class Beats(Metrics):
    """Counts the signs of life."""

    beats = 0

    def beat(self) -> None:
        self.beats += 1


def test_a_steady_load_does_not_keep_the_carrier_from_giving_signs_of_life() -> None:
    stop, metrics = threading.Event(), Beats()
    stream = SteadyStream(5, stop)
    carry(stream, metrics, stop)
    assert (metrics.rows_total, stream.confirmed) == (5, 51)
    assert metrics.beats >= stream.read


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        ([BEGIN[:-1]], "a begin of"),
        ([BEGIN + b"x"], "a begin of"),
        ([BEGIN, BEGIN], "within another"),
        ([COMMIT], "without its begin"),
        ([INSERT], "outside of a transaction"),
        ([BEGIN, INSERT, COMMIT[:-1]], "a commit of"),
        ([BEGIN, INSERT, COMMIT + b"x"], "a commit of"),
        ([BEGIN, INSERT, framed(b"C\0" + struct.pack(">QQq", 10, 10, 0))], "ends before it begins"),
        ([BEGIN, INSERT, framed(b"C\0" + struct.pack(">QQq", 11, 12, 0))], "without its begin"),
    ],
)
def test_transactions_that_are_not_whole_end_the_stream(damaged: list[bytes], reason: str) -> None:
    with pytest.raises(MalformedStream, match=reason):
        carry(StreamOnce([relation(), *damaged]), Beats(), threading.Event())


def carry(stream: Any, metrics: Metrics, stop: threading.Event) -> None:
    others: Any = Taken()
    outboxes: Any = OneTable()
    Carrier(CONFIG, stream, others, others, [], metrics, outboxes).run(StoredPosition("system", 1, "slot", 1), stop)
