"""Global identifiers: they carry whose transaction it is, so that recovery recognises its own and no other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

TAG = "tally"
# PostgreSQL's own limit is 200 bytes.
BYTES_MAX = 199
_NAME = re.compile(r"[a-z0-9_-]{1,60}")


@dataclass(frozen=True, slots=True)
class Identity:
    """A coordinator: its name and the number of its life, which grows with every start."""

    coordinator: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Identifier:
    """Identifies one participant's part of one transaction. Raises ValueError for a name that cannot be part of it."""

    owner: Identity
    transaction: str
    participant: str

    def __post_init__(self) -> None:
        if not (_NAME.fullmatch(self.owner.coordinator) and _NAME.fullmatch(self.participant)):
            raise ValueError(f"no names for an identifier: {self.owner.coordinator!r}, {self.participant!r}")

    def __str__(self) -> str:
        return f"{TAG}:{self.owner.coordinator}:{self.owner.epoch}:{self.transaction}:{self.participant}"


def parse(text: str) -> Identifier | None:
    """The reverse of `str`; None for what is not ours."""
    parts = text.split(":")
    if len(parts) != 5 or parts[0] != TAG:
        return None
    try:
        return Identifier(Identity(parts[1], int(parts[2])), str(UUID(parts[3])), parts[4])
    except ValueError:
        return None
