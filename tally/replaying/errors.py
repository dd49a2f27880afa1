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
    """Another process goes on with the same replay, or Kafka gave this one up: to a client both look alike."""

    def __init__(self, id_: str) -> None:
        super().__init__(
            f"another process has replay {id_}, or this one stood still for too long: it stops, nothing is lost or "
            f"doubled; where none runs, go on with tally replay run --resume {id_}"
        )


class CannotGoOn(ReplayError):
    """What the replay needs is gone, or its target takes no more."""
