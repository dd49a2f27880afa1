"""Errors of the write side.

psycopg.errors.LockNotAvailable   a lock was not to be had within lock_timeout; try again later
├── Busy                          another transaction (a prepared one, perhaps) holds the aggregate's head row
└── StillRunning                  the same command id is being handled at this moment
CommandIdReused                   the command id is known with another body; never retried
HistoryBroken                     a history has a gap or does not end at its head; an operator must look
schemas.errors.Conflict           the history moved since it was loaded; load, decide and append again
"""

from __future__ import annotations

import psycopg


class Busy(psycopg.errors.LockNotAvailable):
    """The head row of `aggregate` is held by another transaction; a sink parks the key, HTTP says 409."""

    def __init__(self, aggregate: str) -> None:
        super().__init__(f"{aggregate} is held by another transaction")


class StillRunning(psycopg.errors.LockNotAvailable):
    """Command `command_id` runs at this moment; ask again for its answer."""

    def __init__(self, command_id: str) -> None:
        super().__init__(f"command {command_id} is still running")
        self.command_id = command_id


class CommandIdReused(Exception):
    """Command `command_id` was given before with another body; refused, nothing done."""

    def __init__(self, command_id: str) -> None:
        super().__init__(f"command {command_id} is known with another body")
        self.command_id = command_id


class HistoryBroken(Exception):
    """The events of an aggregate are not dense, or do not end at its head."""

    def __init__(self, aggregate: str, head_version: int, found: list[int]) -> None:
        last = found[-1] if found else "nothing"
        super().__init__(f"{aggregate}: the head is at version {head_version}, the history found ends with {last}")
        self.aggregate, self.head_version, self.found = aggregate, head_version, found
