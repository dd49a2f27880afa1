"""Acts of operators on replays and on read models built anew, for the audit trail."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplayActed:
    """`act` is START, RESUME, PAUSE or FORGET; the subject is the replay's id.

    `topics` are the sources, by comma; `into` is the target as typed. Where that is a topic of the live system, the
    system acts on what was replayed.
    """

    act: str
    by: str
    reason: str
    topics: str
    into: str


@dataclass(frozen=True, slots=True)
class RebuildActed:
    """`act` is BUILD, PROMOTE or DISCARD; the subject is the read model, `version` the one that was built."""

    act: str
    by: str
    reason: str
    version: int
