"""Confirmations that wait for the wallet: rows in the orders database, each done by one two-phase commit."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from producers.store.connections import Connection
from producers.store.kept_commands import command_from_json, command_to_json
from schemas.envelope import Message

# What one look takes up; the rest is taken up by the next.
OPEN_A_LOOK_MAX = 64
CHANNEL = "tally_wallet_orders"


def note_wallet_order(connection: Connection, command: Message) -> None:
    """Adds a confirmation to what is to be done, and calls when the transaction is committed; a repeat adds nothing."""
    connection.execute(
        "insert into wallet_orders (id, order_id, command) values (%s, %s, %s) on conflict (id) do nothing",
        (command.envelope.id, command.envelope.subject, Jsonb(command_to_json(command))),
    )
    # The sink's transaction is an ordinary one; one that is to be prepared could not call.
    connection.execute("select pg_notify(%s, '')", (CHANNEL,))


def open_wallet_orders(connection: Connection) -> list[str]:
    """Ids of confirmations that are to be done, oldest first."""
    rows = connection.execute(
        "select id::text from wallet_orders where state = 'OPEN' order by seq limit %s", (OPEN_A_LOOK_MAX,)
    ).fetchall()
    return [row[0] for row in rows]


def take(connection: Connection, id_: str) -> Message | None:
    """Closes a confirmation in the caller's transaction; None where somebody else has it, or had it."""
    row = connection.execute(
        "update wallet_orders set state = 'DONE' where id = (select id from wallet_orders"
        " where id = %s and state = 'OPEN' for update skip locked) returning command",
        (id_,),
    ).fetchone()
    return None if row is None else command_from_json(row[0])
