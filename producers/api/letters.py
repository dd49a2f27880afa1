"""`/dead-letters`: records that were set aside, and those that wait behind them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query

from producers.api.asked_of_kafka import KafkaSilent
from producers.api.customers import PAGE_DEFAULT, Limit
from producers.api.parts import ThePart
from producers.api.problems import unavailable
from schemas.letters import FAILED

router = APIRouter(tags=["dead letters"])
Text = Annotated[str | None, Query(max_length=300)]


@router.get("/dead-letters")
async def dead_letters(
    parts: ThePart,
    state: Annotated[Text, Query(description="FAILED, or WAITING behind one that failed")] = None,
    key: Annotated[Text, Query(description="key of the records")] = None,
    limit: Limit = PAGE_DEFAULT,
) -> dict[str, Any]:
    """Those that wait for one another together and in order; redriven and discarded by `tally dead-letters`."""
    try:
        found = await asyncio.to_thread(parts.letters.read)
    except KafkaSilent as error:
        raise unavailable("kafka-out-of-reach", str(error)) from error
    rows = [row for row in found if state in (None, row["state"]) and key in (None, row["key"])]
    rows.sort(key=lambda row: (row["lane"] or "", row["state"] != FAILED, row["recorded_at"], row["offset"] or 0))
    return {"items": rows[:limit], "next": None}
