"""Errors of replays; each says in one line what is wrong and what to do.

ReplayError
├── WrongReplay       what is asked for cannot be: a bound, a target, an id
├── UnknownReplay     there is no replay of that id
├── TakenOver         another process goes on with the same replay
└── CannotGoOn        what was there when the replay began is not there any more, or the target takes no more
"""

from __future__ import annotations


class ReplayError(Exception):
    """See the module."""


class WrongReplay(ReplayError):
    """What is asked for cannot be."""


class UnknownReplay(ReplayError):
    """There is no replay of that id."""

    def __init__(self, id_: str) -> None:
        super().__init__(f"there is no replay {id_}; `tally replay status` lists them")


class TakenOver(ReplayError):
    """Another process goes on with the same replay; this one has stopped."""

    def __init__(self, id_: str) -> None:
        super().__init__(f"another process goes on with replay {id_}; this one has stopped, nothing is lost or doubled")


class CannotGoOn(ReplayError):
    """What the replay needs is gone, or its target takes no more."""
