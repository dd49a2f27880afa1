"""Brings a batch's records to the agents and waits for them: all at once, or record by record when an agent raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from confluent_kafka import Message
from faust.types import TP

from .attempt import Attempt
from .commits import Commits
from .records import FAILED, UNDECODABLE, raw_record
from .stats import Stats

NOTHING: Mapping[TP, list[Any]] = MappingProxyType({})

Records = dict[TP, list[Message]]


class Deliveries:
    """One attempt at a time, on the event loop."""

    def __init__(self, app: Any, commits: Commits, stats: Stats, stopping: Callable[[], bool]) -> None:
        self._app = app
        self._commits = commits
        self._stats = stats
        self._stopping = stopping
        self._attempt: Attempt | None = None

    async def deliver(self, records: Records, ahead: Mapping[TP, list[Any]] = NOTHING) -> BaseException | None:
        """What an agent raised; None when all of them are done with it."""
        app = self._app
        attempt = self._attempt = Attempt(app.consumer_generation_id)
        try:
            for tp, messages in records.items():
                app.topics.deliver(tp, messages, ahead.get(tp), attempt, self._refused)
            attempt.one_ended()
            await attempt.done.wait()
        finally:
            self._attempt = None
        return attempt.error

    async def deliver_one_by_one(self, records: Records) -> bool:
        """The record that raises becomes a dead letter, with what it did undone. False when the worker stopped in the
        middle; all is undone then."""
        self._stats.reruns += 1
        commits = self._commits
        for tp, messages in records.items():
            for message in messages:
                mark = commits.begin_record()
                error = await self.deliver({tp: [message]})
                if error is not None and self._stopping():
                    commits.end_record(mark, keep=False)
                    commits.undo()
                    return False
                commits.end_record(mark, keep=error is None)
                if error is not None:
                    commits.set_aside(raw_record(message), FAILED, error)
        return True

    def agent_failed(self, error: BaseException) -> None:
        """An agent raised, in an attempt or outside of any."""
        if self._attempt is None or self._attempt.done.is_set():
            self._app.transport.fatal(error)  # outside of any batch: nothing says which record it was
        else:
            self._attempt.fail(error)

    def give_up(self) -> None:
        """What runs will not end: it is not waited for."""
        if self._attempt is not None:
            self._attempt.give_up()

    def _refused(self, message: Message, error: Exception) -> None:
        self._commits.set_aside(raw_record(message), UNDECODABLE, error)
