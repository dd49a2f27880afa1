"""Errors that the contracts raise.

ContractError                 a message or record breaks its contract
├── Undecodable               bytes or headers that cannot be read; never retried: set them aside
│   └── Damaged               an event that a history needs, named by where it lies
│       └── DamagedRecord     in a topic
├── Unencodable               a message that does not fit its schema; a fault of the sender
└── Incompatible              a schema that old readers or old data could not live with
Conflict                      the history moved since it was loaded; try again from the start
"""

from __future__ import annotations

# What HTTP calls a `Damaged` event, so that a client can tell it from other failures.
EVENT_DAMAGED = "event-damaged"


class ContractError(Exception):
    """A message or record breaks its contract; trying again changes nothing."""


class Undecodable(ContractError):
    """Bytes or headers that cannot be read; `reason` is one line without the payload."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Damaged(Undecodable):
    """An event that a history needs cannot be read: `place` says where it lies, `remedy` what to do about it."""

    def __init__(self, place: str, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.place, self.remedy = place, remedy

    def __str__(self) -> str:
        return f"{self.place} cannot be read: {self.reason}; {self.remedy}"


class DamagedRecord(Damaged):
    """The record at `topic`, `partition`, `offset` cannot be read, or is of another history."""

    def __init__(self, topic: str, partition: int, offset: int, reason: str) -> None:
        shown = f"`tally consume {topic} -p {partition} -o {offset} -n 1` shows it, `tally fsck` what else is wrong"
        super().__init__(f"{topic}/{partition}/{offset}", reason, shown)
        self.topic, self.partition, self.offset = topic, partition, offset


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
