"""What a service offers to the sink: one method, matched by shape."""

from __future__ import annotations

from typing import Any, Protocol

import psycopg

from schemas.envelope import Message

Connection = psycopg.Connection[tuple[Any, ...]]


class CommandHandler(Protocol):
    """A service's way to work a command."""

    def handle(self, connection: Connection, command: Message) -> None:
        """Work one command inside the caller's savepoint; a refusal is an answer, not an error.

        Raises `schemas.errors.Conflict` (try again in a new savepoint) and psycopg's lock time-outs (the key is busy);
        any other error sets the command aside.
        """
