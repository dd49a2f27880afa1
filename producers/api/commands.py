"""`/commands`: what came of any command, by its message id."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from producers.api.headers import Token
from producers.api.parts import ThePart
from producers.api.problems import not_found
from producers.api.stock import TABLE
from producers.store.port import DONE, OUTCOME_REFUSED, KnownCommand

router = APIRouter(tags=["commands"])


@router.get("/commands/{message_id}")
async def show(message_id: UUID, parts: ThePart, response: Response) -> dict[str, Any]:
    """State (RUNNING or DONE), the ids of the events, the token to read by, and the reason of a refusal."""
    id_ = str(message_id)
    for find in (parts.orders.find_command, parts.find_payment_command):
        known = await asyncio.to_thread(find, id_)
        if known is not None:
            return _stamped(response, _decided(known))
    row = await parts.reader.anywhere(TABLE, id_)
    if row is None:
        raise not_found("command-not-found", "no command with this id was handled")
    return _stamped(response, _of_stock(row["value"]))


def _decided(known: KnownCommand) -> dict[str, Any]:
    answer = known.answer
    if answer is None:
        return {"state": known.state, "events": [], "token": None, "refusal": None}
    token = f"{answer.aggregate}@{answer.version}" if answer.aggregate and answer.version else None
    refusal = answer.reason if answer.outcome == OUTCOME_REFUSED else None
    return {"state": known.state, "events": list(answer.events), "token": token, "refusal": refusal}


def _of_stock(row: dict[str, Any]) -> dict[str, Any]:
    token = str(Token("inventory", row["sku"], row["version"])) if row["version"] else None
    refusal = row["reason"] if row["outcome"] == OUTCOME_REFUSED else None
    return {"state": DONE, "events": row["event_ids"], "token": token, "refusal": refusal}


def _stamped(response: Response, answer: dict[str, Any]) -> dict[str, Any]:
    if answer["token"]:
        response.headers["Consistency-Token"] = answer["token"]
    return answer
