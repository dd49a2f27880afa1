"""`/orders`: place, show, cancel, ship, take lines back, and the history."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from fastapi_problem.error import Problem

from producers.api.bodies import Cancellation, Name, NewOrder, Return
from producers.api.headers import Token, WaitS, Wanted, Wish, stamp, version_for
from producers.api.moments import MaybeBetween, MaybePast
from producers.api.parts import ThePart
from producers.api.past_rows import PastRows
from producers.api.problems import conflict, not_found
from producers.api.reading import Wanted as WantedRow
from producers.orders.aggregate import RETURNED_TOO_MUCH, UNKNOWN_LINE, UNKNOWN_ORDER
from producers.store.port import OUTCOME_REFUSED, Answer
from schemas.envelope import to_json
from schemas.messages import CancelOrder, ShipOrder

router = APIRouter(tags=["orders"])

# Problem types of refusals that are not about the order's status.
_TYPE_BY_REASON = {UNKNOWN_LINE: "unknown-line", RETURNED_TOO_MUCH: "returned-too-much"}


@router.post("/orders", status_code=201)
def place(order: NewOrder, wish: Wish, parts: ThePart, response: Response) -> dict[str, Any]:
    """Places an order. Whether it can be had and paid shows in its status."""
    order_id, answer = parts.orders.place(wish, order.to_command())
    if answer.outcome == OUTCOME_REFUSED or answer.version is None:
        raise conflict("refused", f"the order was refused: {answer.reason}", reason=answer.reason)
    response.headers["Location"] = f"/orders/{order_id}"
    stamp(response, Token("orders", order_id, answer.version))
    return {"order_id": order_id, "version": answer.version}


@router.post("/orders/{order_id}/cancel", status_code=202)
def cancel(
    order_id: Name,
    wish: Wish,
    parts: ThePart,
    response: Response,
    cancellation: Annotated[Cancellation | None, Body()] = None,
) -> dict[str, Any]:
    """Cancels an order that is not shipped yet; its stock and money follow."""
    reason = (cancellation or Cancellation()).reason
    return _acted(order_id, parts.orders.act(wish, order_id, CancelOrder(reason)), response)


@router.post("/orders/{order_id}/ship", status_code=202)
def ship(order_id: Name, wish: Wish, parts: ThePart, response: Response) -> dict[str, Any]:
    """Ships a confirmed order."""
    return _acted(order_id, parts.orders.act(wish, order_id, ShipOrder()), response)


@router.post("/orders/{order_id}/returns", status_code=202)
def take_back(order_id: Name, returned: Return, wish: Wish, parts: ThePart, response: Response) -> dict[str, Any]:
    """Takes back lines of a shipped order, or parts of them; their money and stock follow."""
    return _acted(order_id, parts.orders.act(wish, order_id, returned.to_command()), response)


@router.get("/orders/{order_id}")
async def show(
    order_id: Name,
    wanted: Wanted,
    wait_s: WaitS,
    parts: ThePart,
    response: Response,
    past: MaybePast,
    between: MaybeBetween,
) -> dict[str, Any]:
    """An order as it stands, or stood, or what changed of it between two moments."""
    if between is not None:
        return await PastRows(parts.histories).diff("orders", order_id, between)
    if past is None:
        row = await _now(order_id, wanted, wait_s, parts)
    else:
        row = await PastRows(parts.histories).value("orders", order_id, past)
    stamp(response, Token("orders", order_id, row["version"]))
    response.headers["ETag"] = f'"{row["version"]}"'
    return row


@router.get("/orders/{order_id}/events")
async def history(order_id: Name, parts: ThePart, response: Response) -> list[dict[str, Any]]:
    """All that happened to an order, by version."""
    events = await parts.histories.of_order(order_id)
    if not events:
        raise _unknown(order_id)
    stamp(response, Token("orders", order_id, len(events)))
    return [to_json(event) for event in events]


async def _now(order_id: str, wanted: tuple[Token, ...], wait_s: float, parts: ThePart) -> dict[str, Any]:
    version = version_for(wanted, "orders", order_id)
    try:
        row = await parts.reader.value(WantedRow("orders", order_id, version, wait_s if version else 0))
        if row is None:
            # If it exists at all it was placed a moment ago: wait until its worker has seen it.
            await _must_exist(order_id, parts)
            row = await parts.reader.value(WantedRow("orders", order_id, 1, wait_s))
    except Problem:
        await _must_exist(order_id, parts)
        raise
    assert row is not None, "a demanded version is there, or the reader says why not"
    return row


async def _must_exist(order_id: str, parts: ThePart) -> None:
    if await asyncio.to_thread(parts.orders.version, order_id) == 0:
        raise _unknown(order_id)


def _acted(order_id: str, answer: Answer, response: Response) -> dict[str, Any]:
    if answer.outcome == OUTCOME_REFUSED or answer.version is None:
        if answer.reason == UNKNOWN_ORDER:
            raise _unknown(order_id)
        type_ = _TYPE_BY_REASON.get(answer.reason or "", "wrong-status")
        raise conflict(type_, f"order {order_id} cannot do this: {answer.reason}", reason=answer.reason)
    stamp(response, Token("orders", order_id, answer.version))
    return {"order_id": order_id, "version": answer.version}


def _unknown(order_id: str) -> Problem:
    return not_found("order-not-found", f"there is no order {order_id}")
