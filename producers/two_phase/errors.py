"""Errors of two-phase commit.

NoAnswer                a participant is silent; an OperationalError, as if it were out of reach
InDoubt                 the decision was asked for and not heard of; recovery settles it, the caller looks again later
ForceRefused            an operator's act that would break the protocol; nothing was done
├── NotPrepared         nothing is known of the transaction
├── DecidedOtherwise    the decision that stands is the other one
└── NotAtAll            a commit that not all participants have prepared
"""

from __future__ import annotations

import psycopg


class NoAnswer(psycopg.OperationalError):
    """`participant` did not answer within `within_s`, or still owes an answer to an earlier question."""

    def __init__(self, participant: str, within_s: float) -> None:
        super().__init__(f"{participant} does not answer within {within_s:g} s")
        self.participant = participant


class InDoubt(Exception):
    """What became of `transaction` is not known here; recovery settles it within seconds."""

    def __init__(self, transaction: str) -> None:
        super().__init__(f"transaction {transaction} is in doubt; recovery settles it")
        self.transaction = transaction


class ForceRefused(Exception):
    """The act would break the protocol; nothing was done."""


class NotPrepared(ForceRefused):
    """Nothing tells of `transaction`."""

    def __init__(self, transaction: str) -> None:
        super().__init__(f"no transaction {transaction} is prepared or decided")


class DecidedOtherwise(ForceRefused):
    """`stands` is the decision of `transaction`."""

    def __init__(self, transaction: str, stands: str) -> None:
        super().__init__(f"transaction {transaction} is decided: {stands}")


class NotAtAll(ForceRefused):
    """Not all participants have prepared `transaction`: committing it would split it."""

    def __init__(self, transaction: str, missing: tuple[str, ...]) -> None:
        super().__init__(f"transaction {transaction} is not prepared at {', '.join(missing)}; roll it back")
