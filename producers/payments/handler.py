"""Commands from `payments.commands`: the first of the two transactions around a call of the provider."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from producers.payments.aggregate import payment_aggregate
from producers.payments.lease import note_attempt
from producers.store.connections import Connection
from producers.store.deciding import handle
from producers.store.postgres import PostgresUnit
from producers.wallets.paying import give_back
from schemas.codec import AvroCodec, Codec
from schemas.envelope import Message, now


class PaymentCommands:
    """The command handler of payments; matches `CommandHandler` of the sinks by shape."""

    def __init__(self, codec: Codec | None = None, clock: Callable[[], datetime] = now) -> None:
        self._codec, self._clock = codec or AvroCodec(), clock

    def handle(self, connection: Connection, command: Message) -> None:
        """Decides one command inside the caller's savepoint; a repeat changes nothing.

        What needs the provider is noted as an attempt for the runner, who answers the saga when it is done.
        Raises Conflict (try again in a new savepoint), psycopg's LockNotAvailable (the key is busy),
        CommandIdReused and TypeError (set the record aside).
        """
        aggregate = payment_aggregate(command.envelope.subject)
        unit, clock = PostgresUnit(connection, self._codec), self._clock()
        answer = handle(unit, aggregate, command, clock)
        if answer is None and not give_back(unit, command, clock):
            note_attempt(connection, command)
