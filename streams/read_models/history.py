"""What every projection asks first: is this the event that comes next?"""

from __future__ import annotations

from typing import Any

from schemas.envelope import Message
from streams.errors import HistoryForked, HistoryGap

Row = dict[str, Any]


def is_repeat(row: Row | None, event: Message) -> bool:
    """Whether the row has the event already.

    Raises HistoryForked for another event under the row's version and HistoryGap where versions lack in between.
    """
    envelope = event.envelope
    version = envelope.version or 0
    seen = 0 if row is None else row["version"]
    if version == seen + 1:
        return False
    if version > seen or row is None:
        raise HistoryGap(_aggregate(event), version, seen + 1)
    if version == seen and row["event_id"] != envelope.id:
        raise HistoryForked(_aggregate(event), version, (row["event_id"], envelope.id))
    return True


def _aggregate(event: Message) -> str:
    return f"{event.envelope.aggregatetype}/{event.envelope.subject}"
