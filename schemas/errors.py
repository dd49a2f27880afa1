"""Errors that the contracts raise.

ContractError                 a message or record breaks its contract
├── Undecodable               bytes or headers that cannot be read; never retried: set them aside
├── Unencodable               a message that does not fit its schema; a fault of the sender
└── Incompatible              a schema that old readers or old data could not live with
Conflict                      the history moved since it was loaded; try again from the start
"""

from __future__ import annotations


class ContractError(Exception):
    """A message or record breaks its contract; trying again changes nothing."""


class Undecodable(ContractError):
    """Bytes or headers that cannot be read; `reason` is one line without the payload."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unencodable(ContractError):
    """A message that does not fit its schema."""


class Incompatible(ContractError):
    """A schema version that breaks readers of an earlier one; `findings` has one line each."""

    def __init__(self, findings: list[str]) -> None:
        super().__init__("; ".join(findings))
        self.findings = findings


class Conflict(Exception):
    """The history of an aggregate moved since it was loaded; load, decide and append again."""

    def __init__(self, aggregatetype: str, aggregate_id: str, expected_version: int) -> None:
        super().__init__(f"{aggregatetype}/{aggregate_id} is no longer at version {expected_version}")
        self.aggregatetype, self.aggregate_id, self.expected_version = aggregatetype, aggregate_id, expected_version
