"""Answers requests to redrive: a failed row and those behind it, in order, by the process that owns the connector.

Steps of one piece: 1. the rows are got back; 2. each is sent and its entry taken away; 3. the position as it stands is
stored; 4. the batch is committed. A kill anywhere leaves the request open and the entries of what was not published.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from connectors.outbox.config import OutboxConfig
from connectors.outbox.positions import StoredPosition
from connectors.outbox.publisher import Publisher
from connectors.outbox.routing import Route, Unroutable
from connectors.outbox.sender import Sender
from connectors.outbox.waiting.contents import contents
from connectors.outbox.waiting.entries import Aggregate, Content, Entry, Request, State
from connectors.outbox.waiting.keeper import Keeper

_log = structlog.get_logger()

# Rows of one batch while mending, and so the most that is held in memory of them.
PIECE_ROWS = 100


class Mender:
    """Works between two batches of the stream; one for each stream.

    `goes_on` is called between pieces: it keeps the database's connection alive, and False ends the work where it stands.
    """

    def __init__(
        self,
        config: OutboxConfig,
        publisher: Publisher,
        sender: Sender,
        keeper: Keeper,
        goes_on: Callable[[], bool],
    ) -> None:
        self._config, self._publisher, self._sender, self._keeper = config, publisher, sender, keeper
        self._waiting, self._goes_on = keeper.waiting, goes_on

    def serve(self, stored: StoredPosition) -> None:
        """Does what is asked for by now. No batch may be open. Raises what `Publisher.commit` does, psycopg.Error."""
        for key, request in list(self._waiting.requests.items()):
            self._answer(key, request, stored)

    def close(self) -> None:
        """Nothing is held."""

    def _answer(self, key: bytes, request: Request, stored: StoredPosition) -> None:
        before = len(self._waiting.blocked)
        # A topic that was made, or a limit that was raised, just now: that is why somebody asks.
        self._sender.look_anew()
        # Where the first row is not a failed one, a kill ended an earlier answer to this request.
        meant = dict.fromkeys(entry.aggregate for entry in self._waiting.blocked if request.wants(entry))
        meant |= dict.fromkeys(self._waiting.blocked.headless())
        for aggregate in meant:
            self._mend(aggregate, stored)
            if not self._goes_on():
                return
        self._open()
        self._keeper.answered(key)
        self._commit(stored)
        del self._waiting.requests[key]
        _log.info("redriven", rows=before - len(self._waiting.blocked), left=len(self._waiting.blocked))

    def _mend(self, aggregate: Aggregate, stored: StoredPosition) -> None:
        """Until nothing waits or a row is refused again."""
        while entries := self._waiting.blocked.of(aggregate)[:PIECE_ROWS]:
            found = contents(self._config, entries)
            self._open()
            all_sent = all(self._send(entry, found.get(entry.key)) for entry in entries)
            self._commit(stored)
            if not all_sent or not self._goes_on():
                return

    def _send(self, entry: Entry, content: Content | None) -> bool:
        """Whether it is in the batch now."""
        if content is None:
            self._keeper.replace(replace(entry, reason="the row is gone from the table"), None)
            return False
        route = Route(self._config.routing, content.columns)
        try:
            self._sender.put(route, content.values, entry.place)
        except Unroutable as refused:
            if entry.state is State.FAILED:
                self._keeper.replace(replace(entry, reason=refused.reason), content)
            else:
                self._sender.set_aside(route, content.values, entry.place, refused.reason)
            return False
        self._keeper.mended(entry)
        return True

    def _open(self) -> None:
        if not self._publisher.is_open:
            self._publisher.begin()

    def _commit(self, stored: StoredPosition) -> None:
        self._sender.settle()
        self._publisher.commit(stored)
        self._sender.trust()
