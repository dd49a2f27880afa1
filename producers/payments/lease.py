"""The table of attempts: what is to be asked of the provider, taken by one runner at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from producers.store.connections import Connection
from producers.store.kept_commands import command_from_json, command_to_json
from producers.store.port import Head
from producers.store.postgres import head_of
from schemas.envelope import Message
from schemas.messages import VoidPayment, wire_type

# Longer than a call and a question for the status may take together, so that a lease ends only with its runner;
# short against the saga's 10 s, so that what a killed runner left is taken up in time.
LEASE_S = 5.0
RETRY_FIRST_S, RETRY_MAX_S = 0.2, 2.0
CHANNEL = "tally_attempts"
# Begins the error of a try that the provider answered with one: it may call again without asking for the status.
ANSWERED = "answered: "

_VOID = wire_type(VoidPayment)

_NOTE = """
with noted as (
    insert into attempts (id, payment_id, command_type, command) values (%s, %s, %s, %s)
    on conflict (id) do nothing returning id)
select exists (select from noted), pg_notify(%s, '')
"""
# A void must not wait for the pause before the next try of what it voids.
_HURRY = "update attempts set due_at = clock_timestamp() where payment_id = %s and state = 'OPEN' and id <> %s"
# One payment's attempts are done in their order: only the oldest can be taken.
# A lease that ended by itself says nothing of its call, whatever the try before it ended with.
_CLAIM = """
with due as (
    select b.id, b.payment_id, b.lease_owner is null and starts_with(coalesce(b.last_error, ''), %(answered)s) as answered
    from attempts b
    where b.state = 'OPEN' and b.due_at <= clock_timestamp()
      and (b.lease_until is null or b.lease_until < clock_timestamp())
      and not exists (
          select 1 from attempts older
          where older.payment_id = b.payment_id and older.state = 'OPEN' and older.seq < b.seq)
    order by b.due_at limit %(limit)s for update skip locked)
update attempts a
set lease_owner = %(owner)s, lease_until = clock_timestamp() + %(lease_s)s * interval '1 second', tries = tries + 1
from due left join heads h on h.aggregatetype = 'payments' and h.aggregateid = due.payment_id where a.id = due.id
returning a.id::text, a.command, a.tries, due.answered, (
    select v.command -> 'body' ->> 'reason' from attempts v
    where v.payment_id = a.payment_id and v.state = 'OPEN' and v.command_type = %(void)s and v.id <> a.id
    order by v.seq limit 1), h.version, h.snapshot, h.snapshot_version, h.recorded_at
"""
_HOLD = "select 1 from attempts where id = %s and lease_owner = %s and state = 'OPEN' for update"
_DONE = "update attempts set state = 'DONE', lease_owner = null, lease_until = null, last_error = null where id = %s"
_AGAIN = """
update attempts
set lease_owner = null, lease_until = null, last_error = %s, due_at = clock_timestamp() + %s * interval '1 second'
where id = %s and lease_owner = %s and state = 'OPEN'
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A command that needs the provider; `tries` counts from 1, `void_reason` is that of a void that waits behind it.

    `answered`: the try before was answered with an error, so that nothing is unknown of it.
    `head`: the payment as it stood when the attempt was taken.
    """

    id: str
    command: Message
    tries: int
    answered: bool
    void_reason: str | None
    head: Head

    @property
    def payment_id(self) -> str:
        """The order's id."""
        return self.command.envelope.subject


def note_attempt(connection: Connection, command: Message) -> None:
    """Adds a command to what is to be done; a runner hears of it when the transaction is committed."""
    envelope = command.envelope
    kept = Jsonb(command_to_json(command))
    noted = connection.execute(_NOTE, (envelope.id, envelope.subject, envelope.type, kept, CHANNEL)).fetchone()
    if noted is not None and noted[0] and envelope.type == _VOID:
        connection.execute(_HURRY, (envelope.subject, envelope.id))


def claim(connection: Connection, owner: str, limit: int, lease_s: float = LEASE_S) -> list[Attempt]:
    """Takes up to `limit` attempts that are due and that nobody holds, for `lease_s` seconds."""
    given = {"owner": owner, "limit": limit, "lease_s": lease_s, "void": _VOID, "answered": ANSWERED}
    return [_attempt(*row) for row in connection.execute(_CLAIM, given)]


def _attempt(
    id_: str, kept: dict[str, Any], tries: int, answered: bool, void_reason: str | None, *head: Any
) -> Attempt:
    command = command_from_json(kept)
    return Attempt(id_, command, tries, answered, void_reason, head_of("payments", command.envelope.subject, head))


@contextmanager
def one_statement(connection: Connection) -> Iterator[None]:
    """Each statement inside is a transaction of its own, which saves beginning and ending it."""
    connection.autocommit = True
    try:
        yield
    finally:
        if not connection.closed:
            connection.autocommit = False


def still_held(connection: Connection, attempt: Attempt, owner: str) -> bool:
    """Whether the attempt is open and ours; locks it until the transaction ends."""
    return connection.execute(_HOLD, (attempt.id, owner)).fetchone() is not None


def close(connection: Connection, attempt: Attempt) -> None:
    """The attempt is done."""
    connection.execute(_DONE, (attempt.id,))


def put_back(connection: Connection, attempt: Attempt, owner: str, error: str, pause_s: float) -> None:
    """Gives the attempt up for now; it is due again after `pause_s` seconds."""
    connection.execute(_AGAIN, (error[:500], pause_s, attempt.id, owner))


def pause_after(tries: int) -> float:
    """Seconds until the next try, doubling up to RETRY_MAX_S."""
    return min(RETRY_FIRST_S * 2.0 ** min(tries - 1, 10), RETRY_MAX_S)
