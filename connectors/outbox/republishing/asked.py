"""A request to send rows of the table once more, as a record of the connector's own topic, and how far that is.

Key `republish/<id>`. A person writes it; the process that owns the connector writes it anew, with its progress, in the
Kafka transaction of the rows that the progress counts. So it goes on where it was after any kill, without copies.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import orjson

REPUBLISH = b"republish/"
IDS_MAX = 10_000
RATE_MAX = 100_000.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which rows: all that fit every one that is given.

    `aggregate` is an aggregate's id, or its type and id as `type/id`; `since` (included) and `until` (not included) are
    moments in RFC 3339 that the column `time_field` is compared with.
    """

    ids: tuple[str, ...] = ()
    aggregate: str | None = None
    since: str | None = None
    until: str | None = None
    time_field: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: the table, whether the rows without a key have their turn (they come last), the last group sent.

    `sent` rows are in Kafka once more; `refused` ones Kafka no longer takes; `held` ones are not published at all, as
    `tally outbox status` shows. `fault` says why it ended early, "" if it did not.
    """

    table: int = 0
    keyless: bool = False
    after: tuple[str, ...] | None = None
    sent: int = 0
    refused: int = 0
    held: int = 0
    done: bool = False
    fault: str = ""

    @property
    def rows(self) -> int:
        """All that was looked at."""
        return self.sent + self.refused + self.held


@dataclass(frozen=True, slots=True)
class Republish:
    """What is asked for and how far it is. `dry_run` only counts; `cancelled` ends it where it stands."""

    bounds: Bounds
    rows_per_second: float = 1_000.0
    dry_run: bool = False
    cancelled: bool = False
    progress: Progress = Progress()

    def to_json(self) -> bytes:
        """The record's value."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, value: bytes) -> Republish | None:
        """None for bytes that are no request: anybody may write to a topic."""
        try:
            content = orjson.loads(value)
            found = cls(
                bounds=_made(Bounds, content["bounds"]),
                rows_per_second=float(content["rows_per_second"]),
                dry_run=bool(content["dry_run"]),
                cancelled=bool(content["cancelled"]),
                progress=_made(Progress, content["progress"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return found if 0 < found.rows_per_second <= RATE_MAX and len(found.bounds.ids) <= IDS_MAX else None


def _made(cls: type[Any], content: dict[str, Any]) -> Any:
    """Lists come back as the tuples that they were."""
    names = {field.name for field in fields(cls)}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
    return cls(**{name: value for name, value in given.items() if name in names})
