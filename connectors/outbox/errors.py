"""Errors of the outbox connector, each with an exit code of its own and, in its text, the way out.

OutboxError
├── BadOption             2   an option that is wrong or that this version does not know
├── StartRefused              what was found at the start does not fit together; nothing was sent
│   ├── SlotAhead         10  the slot has let go of rows that Kafka does not have
│   ├── SlotMissing       11  a stored position, but no slot
│   ├── PositionMissing   12  a slot, but no stored position
│   ├── OtherSystem       13  the position is of another database cluster
│   ├── SlotLost          14  the server has thrown away log that the slot needed
│   ├── PublicationMissing 15 no such publication, and we may not make it
│   ├── PublicationNarrow 16  the publication does not cover the table or its columns
│   ├── WalLevelTooLow    17  wal_level is not logical
│   ├── SlotActive        18  somebody else reads the slot and does not go away
│   ├── Diverged          19  this server's history left the one that the position is of
│   ├── SlotUnfit         26  the slot is physical, of another plugin or of another database
│   └── TableUnfit        22  no such table, or a column that the options name is missing
├── UnsendableRow         20  a row that Kafka can never take, and no dead letters are set up
├── InvalidOperation      21  an UPDATE of an outbox row, or a message that is not transactional, and the options say that
│                             this is fatal
├── MalformedStream       23  bytes that are no pgoutput
├── Refused               24  Kafka refuses again and again, and not because of one row
├── NotPermitted          25  the database role lacks a right
├── Fenced                30  a newer process of the same name has taken over, or Kafka timed the batch out
├── Aborted               -   retried: the Kafka transaction must be aborted, the stream starts again at the stored position
├── WaitingFull           -   retried: too many rows wait behind a failed one; paused until somebody mends it
├── ClaimLost             -   retried: rows that were claimed by polling were changed by somebody else
├── ProducerLost          -   retried: the producer must be built anew
├── DatabaseLost          -   retried: the stream ended
└── Stopped               -   asked to end while waiting for Kafka
"""

from __future__ import annotations


class OutboxError(Exception):
    """`exit_code` is what the process ends with; None for what never leaves the connector."""

    exit_code: int | None = None


class BadOption(OutboxError):
    """An option that is wrong or that this version does not know."""

    exit_code = 2


class StartRefused(OutboxError):
    """What was found at the start does not fit together; nothing was sent."""


class SlotAhead(StartRefused):
    """The slot has let go of rows that Kafka does not have."""

    exit_code = 10

    def __init__(self, slot: str, confirmed: str, stored: str) -> None:
        super().__init__(
            f"slot {slot} is confirmed up to {confirmed}, ahead of the stored position {stored}: the rows between them "
            f"would be missed; --resume=republish sends the table again, --resume=slot goes on behind them"
        )


class SlotMissing(StartRefused):
    """A stored position, but no slot."""

    exit_code = 11

    def __init__(self, slot: str, stored: str) -> None:
        super().__init__(
            f"position {stored} is stored, but slot {slot} is gone: rows since then may be missing from Kafka; "
            f"--resume=republish makes it anew and sends what is in the table again"
        )


class PositionMissing(StartRefused):
    """A slot, but no stored position."""

    exit_code = 12

    def __init__(self, slot: str, topic: str) -> None:
        super().__init__(
            f"slot {slot} exists, but topic {topic} holds no position: another connector's slot, or the topic was lost; "
            f"give another --slot; --resume=slot goes on where the slot is, --resume=republish sends the table again"
        )


class OtherSystem(StartRefused):
    """The position is of another database cluster."""

    exit_code = 13

    def __init__(self, stored: str, found: str) -> None:
        super().__init__(
            f"the stored position is of database system {stored}, this is {found} (restored or another server?): "
            f"check --source-url; --resume=republish sends the table again, --resume=slot goes on where the slot is"
        )


class SlotLost(StartRefused):
    """The server has thrown away log that the slot needed."""

    exit_code = 14

    def __init__(self, slot: str, status: str) -> None:
        super().__init__(
            f"slot {slot} cannot be read any more ({status}): raise max_slot_wal_keep_size; "
            f"--resume=republish makes it anew and sends what is in the table again"
        )


class PublicationMissing(StartRefused):
    """No such publication, and we may not make it."""

    exit_code = 15

    def __init__(self, publication: str, statement: str, why: str) -> None:
        super().__init__(
            f"publication {publication} does not exist and cannot be made ({why}); as its owner: {statement}"
        )


class PublicationNarrow(StartRefused):
    """The publication does not cover the table or its columns."""

    exit_code = 16

    def __init__(self, publication: str, what: str, statement: str) -> None:
        super().__init__(f"publication {publication} {what}; drop it and let the connector make it, or: {statement}")


class WalLevelTooLow(StartRefused):
    """wal_level is not logical."""

    exit_code = 17

    def __init__(self, level: str) -> None:
        super().__init__(f"wal_level is {level}: set wal_level = logical and restart the server")


class SlotActive(StartRefused):
    """Somebody else reads the slot and does not go away."""

    exit_code = 18

    def __init__(self, slot: str, pid: int | None) -> None:
        super().__init__(
            f"slot {slot} is read by the server process {pid} and was not let go: end its client, or give another --slot"
        )


class SlotUnfit(StartRefused):
    """The slot is physical, of another plugin or of another database."""

    exit_code = 26

    def __init__(self, slot: str, why: str) -> None:
        super().__init__(f"slot {slot} is not this connector's: {why}; give another --slot")


class Diverged(StartRefused):
    """This server's history left the one that the position is of."""

    exit_code = 19

    def __init__(self, stored: str, stored_timeline: int, found_timeline: int) -> None:
        super().__init__(
            f"DIVERGED: position {stored} of timeline {stored_timeline} is not part of this server's timeline {found_timeline}: "
            f"Kafka may hold rows that this server does not; compare them, then --resume=republish or --resume=slot"
        )


class TableUnfit(StartRefused):
    """No such table, or a column that the options name is missing."""

    exit_code = 22


class UnsendableRow(OutboxError):
    """A row that Kafka can never take, and no dead letters are set up."""

    exit_code = 20

    def __init__(self, row_id: str, reason: str) -> None:
        super().__init__(f"row {row_id} cannot be sent: {reason}; mend what stands in its way, or set up dead letters")


class InvalidOperation(OutboxError):
    """An UPDATE of an outbox row, or a message that is not transactional, and the options say that this is fatal."""

    exit_code = 21


class MalformedStream(OutboxError):
    """Bytes that are no pgoutput."""

    exit_code = 23


class Refused(OutboxError):
    """Kafka refuses again and again, and not because of one row."""

    exit_code = 24


class NotPermitted(OutboxError):
    """The database role lacks a right."""

    exit_code = 25


class Fenced(OutboxError):
    """A newer process of the same name has taken over, or Kafka timed the batch out: Kafka answers both alike."""

    exit_code = 30

    def __init__(self, name: str, transaction_timeout_ms: int, said: str) -> None:
        super().__init__(
            f"kafka no longer takes batches from this process of the connector {name}: a newer process of that name has "
            f"taken over, or kafka ended a batch that was open for more than {transaction_timeout_ms} ms; what was "
            f"open is not published and the next start sends it again (kafka: {said})"
        )


class Aborted(OutboxError):
    """The Kafka transaction must be aborted; the stream starts again at the stored position."""


class WaitingFull(OutboxError):
    """Too many rows wait behind a failed one; the connector pauses until somebody mends it."""

    def __init__(self, aggregate: str, rows: int) -> None:
        super().__init__(
            f"{rows} rows wait behind the failed row of aggregate {aggregate}: nothing is carried until it is redriven "
            f"(tally outbox status, tally outbox redrive)"
        )


class ClaimLost(OutboxError):
    """Rows that were claimed by polling were changed by somebody else; they are claimed again."""


class ProducerLost(OutboxError):
    """The producer must be built anew."""


class DatabaseLost(OutboxError):
    """The replication stream ended."""


class Stopped(OutboxError):
    """Asked to end while waiting for Kafka; what is open stays unpublished until the next start."""


def first_line(error: Exception) -> str:
    """What an error says, for a log line."""
    text = str(error).strip()
    return text.splitlines()[0] if text else repr(error)
