"""`/sagas/{order_id}/events`: all that happened in the affair of one order."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from producers.api.bodies import Name
from producers.api.headers import Token, WaitS, stamp
from producers.api.parts import ThePart
from producers.api.problems import not_found
from schemas.envelope import to_json

router = APIRouter(tags=["sagas"])


@router.get("/sagas/{order_id}/events")
async def history(order_id: Name, wait_s: WaitS, parts: ThePart, response: Response) -> list[dict[str, Any]]:
    """The saga's steps, answers, deadlines and acts, by version."""
    events = await parts.histories.of_single_writer("sagas", order_id, wait_s)
    if not events:
        raise not_found("saga-not-found", "there is no saga of this order")
    stamp(response, Token("sagas", order_id, len(events)))
    return [to_json(event) for event in events]
