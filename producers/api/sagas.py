"""`/sagas`: how far each order's affair has come, and what an operator may do about it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from producers.api.asked_of_kafka import KafkaSilent
from producers.api.bodies import SagaAct
from producers.api.customers import PAGE_DEFAULT, Limit
from producers.api.headers import Wish
from producers.api.parts import ThePart
from producers.api.problems import not_found, unavailable
from producers.api.sending import NotSent
from producers.orders.service import command_message
from schemas.envelope import now
from schemas.messages import ActOnSaga
from schemas.topics import SAGAS_DEADLINES

router = APIRouter(tags=["sagas"])

OrderId = Annotated[str, Path(min_length=1, max_length=64)]
Text = Annotated[str | None, Query(max_length=200)]
# A saga that is older has been forgotten by everybody who could ask for it.
AGE_MAX_S = 10**9


@router.get("/sagas")
async def sagas(
    parts: ThePart,
    state: Annotated[Text, Query(description="RUNNING, COMPENSATING, STUCK, PARKED, CONFIRMED, REJECTED …")] = None,
    step: Annotated[Text, Query(description="those that wait for this step, or are stuck at it")] = None,
    error: Annotated[Text, Query(description="those whose open error has this text")] = None,
    older_s: Annotated[int, Query(ge=0, le=AGE_MAX_S, description="those that are open for so long")] = 0,
    limit: Limit = PAGE_DEFAULT,
) -> dict[str, Any]:
    """The newest sagas, of those that are asked for."""
    wanted = {"state": state, "step": step, "error": error, "older_s": str(older_s) if older_s else None}
    asked = {name: value for name, value in wanted.items() if value} | {"limit": str(limit)}
    return {"items": await parts.reader.sagas(asked, limit), "next": None}


@router.get("/sagas/{order_id}")
async def saga(order_id: OrderId, parts: ThePart) -> dict[str, Any]:
    """One saga: what it waits for, its attempts, its timers, what went wrong."""
    found = await parts.reader.saga(order_id)
    if found is None:
        raise not_found("saga-not-found", "there is no saga of this order")
    return found


@router.get("/sagas/{order_id}/timeline")
async def timeline(order_id: OrderId, parts: ThePart) -> list[dict[str, Any]]:
    """All messages of one saga, of every topic, with times, attempts and offsets."""
    found = await saga(order_id, parts)
    try:
        return await asyncio.to_thread(parts.timelines.read, found)
    except KafkaSilent as error:
        raise unavailable("kafka-out-of-reach", str(error)) from error


@router.post("/sagas/{order_id}/acts", status_code=202)
async def act(order_id: OrderId, wanted: SagaAct, wish: Wish, parts: ThePart) -> dict[str, Any]:
    """Sends an act to the saga; what was done stands in its history and in the audit trail, with who and why."""
    if await parts.reader.saga(order_id) is None:
        raise not_found("saga-not-found", "there is no saga of this order")
    body = ActOnSaga(wanted.act, wanted.by, wanted.reason, wanted.step)
    command = command_message(wish, "sagas", order_id, body, now())
    try:
        await parts.commands.send(SAGAS_DEADLINES, command)
    except NotSent as error:
        raise unavailable("kafka-out-of-reach", f"the act was not taken: {error}") from error
    return {"order_id": order_id, "command_id": command.envelope.id, "act": wanted.act}
