"""Errors of the Faust side; each makes a dead letter of the record that raised it, and changes nothing.

StreamError
├── UnexpectedMessage         a message that has no business on its topic
├── CommandIdReused           a command id that came before with another body
├── HistoryGap                an event whose predecessors were not seen
└── HistoryForked             another event under a version that was seen
"""

from __future__ import annotations


class StreamError(Exception):
    """A record that cannot be handled; trying again changes nothing."""


class UnexpectedMessage(StreamError):
    """A message that has no business on its topic."""

    def __init__(self, type_: str, topic: str) -> None:
        super().__init__(f"{type_} has no business on {topic}")
        self.type, self.topic = type_, topic


class CommandIdReused(StreamError):
    """A command id that came before with another body; this one is refused."""

    def __init__(self, command_id: str) -> None:
        super().__init__(f"command {command_id} came before with another body")
        self.command_id = command_id


class HistoryGap(StreamError):
    """An event whose predecessors were not seen."""

    def __init__(self, aggregate: str, version: int, expected: int) -> None:
        super().__init__(f"{aggregate}: version {version} came where {expected} was expected")
        self.aggregate, self.version, self.expected = aggregate, version, expected


class HistoryForked(StreamError):
    """Another event under a version that was seen: two writers, or a damaged history."""

    def __init__(self, aggregate: str, version: int, ids: tuple[str, str]) -> None:
        super().__init__(f"{aggregate}: version {version} is event {ids[0]} and event {ids[1]}")
        self.aggregate, self.version, self.ids = aggregate, version, ids
