"""Follows the event topics while the demo plays, committed records only, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from schemas.codec import AvroCodec
from schemas.errors import Undecodable
from schemas.topics import DEAD_LETTERS, INVENTORY_EVENTS, ORDERS_EVENTS
from tally.demo.ledger import Ledger
from tally.reading.reader import Reader, Record, UnknownTopic, Unreachable, whole

TOPICS = (ORDERS_EVENTS, INVENTORY_EVENTS, DEAD_LETTERS)


class Watcher:
    """Tells the ledger what happens; a context manager. `loop` is the thread that owns the ledger."""

    def __init__(self, bootstrap: str, ledger: Ledger, loop: asyncio.AbstractEventLoop) -> None:
        self._bootstrap, self._ledger, self._loop = bootstrap, ledger, loop
        self._codec = AvroCodec()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watcher", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _follow(self) -> None:
        try:
            with Reader(self._bootstrap) as reader:
                starts, _ = whole(reader, TOPICS)
                for record in reader.read(starts, None):
                    if self._stop.is_set():
                        return
                    if record is not None and (told := self._tell(record)) is not None:
                        self._loop.call_soon_threadsafe(told)
        except (Unreachable, UnknownTopic) as error:
            lost = f"the watcher lost Kafka: {error}"
            self._loop.call_soon_threadsafe(lambda: self._ledger.troubles.append(lost))

    def _tell(self, record: Record) -> Callable[[], None] | None:
        """What the ledger is to do about a record; headers tell most, few bodies are needed."""
        at_s = time.monotonic()
        headers = {name: value.decode(errors="replace") for name, value in record.headers if value is not None}
        type_, subject = headers.get("ce_type", ""), headers.get("ce_subject", "")
        ledger = self._ledger
        if record.topic == ORDERS_EVENTS:
            reason = self._reason(record) if type_ in ("ORDER_REJECTED", "ORDER_CANCELLED") else None
            return lambda: ledger.see(type_, subject, reason, at_s)
        if record.topic == DEAD_LETTERS:
            if record.value is None:
                return None
            return lambda: ledger.counts.update(["dead letters"])
        if type_ == "STOCK_RECEIVED":
            return lambda: _received(ledger, headers.get("causationid", ""))
        if type_ == "RESERVATION_REFUSED":
            return lambda: ledger.short_skus.update([subject])
        return None

    def _reason(self, record: Record) -> str | None:
        try:
            reason: str | None = self._codec.decode(record.value).reason
        except Undecodable:
            return None
        return reason


def _received(ledger: Ledger, command_id: str) -> None:
    ledger.received.add(command_id)
    ledger.changed.set()
