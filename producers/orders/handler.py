"""Commands from `orders.commands`, handled in the sink's transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from producers.orders.aggregate import ORDERS
from producers.orders.wallet_orders import note_wallet_order
from producers.store.connections import Connection
from producers.store.deciding import handle
from producers.store.postgres import PostgresUnit
from schemas.codec import AvroCodec, Codec
from schemas.envelope import Message, now


class OrderCommands:
    """The command handler of orders; matches `CommandHandler` of the sinks by shape."""

    def __init__(self, codec: Codec | None = None, clock: Callable[[], datetime] = now) -> None:
        self._codec, self._clock = codec or AvroCodec(), clock

    def handle(self, connection: Connection, command: Message) -> None:
        """Decides one command inside the caller's savepoint; a repeat changes nothing.

        The confirmation of an order that is paid from a wallet is noted, and done by `producers.wallets.pivot`.

        Raises Conflict (try again in a new savepoint), psycopg's LockNotAvailable (the key is busy),
        CommandIdReused and TypeError (set the record aside).
        """
        if handle(PostgresUnit(connection, self._codec), ORDERS, command, self._clock()) is None:
            note_wallet_order(connection, command)
