"""`/stock`: how much there is of a SKU; receipts and adjustments, which an agent decides."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Response
from fastapi_problem.error import Problem

from producers.api.bodies import Adjustment, Name, Receipt
from producers.api.headers import Token, WaitS, Wanted, Wish, stamp, version_for
from producers.api.moments import MaybeBetween, MaybePast
from producers.api.parts import Parts, ThePart
from producers.api.past_rows import PastRows
from producers.api.problems import conflict, not_found, unavailable
from producers.api.reading import Wanted as WantedRow
from producers.api.sending import NotSent
from producers.errors import CommandIdReused
from producers.orders.service import Origin, command_message
from producers.store.port import OUTCOME_DONE
from schemas.envelope import Message, body_hash, now, to_json
from schemas.messages import AdjustStock, ReceiveStock
from schemas.topics import INVENTORY_COMMANDS

# The agent's answer takes one Kafka transaction; asking more often than this only keeps its worker from it.
PAUSE_S = 0.05
TABLE = "stock_commands"

router = APIRouter(tags=["stock"])


# A SKU may hold a slash; so the longer paths stand first.
@router.post("/stock/{sku:path}/receipts")
async def receive(
    sku: Name, receipt: Receipt, wish: Wish, wait_s: WaitS, parts: ThePart, response: Response
) -> dict[str, Any]:
    """Takes goods into stock."""
    return await _do(wish, sku, ReceiveStock(receipt.quantity), wait_s, parts, response)


@router.post("/stock/{sku:path}/adjustments")
async def adjust(
    sku: Name, adjustment: Adjustment, wish: Wish, wait_s: WaitS, parts: ThePart, response: Response
) -> dict[str, Any]:
    """Corrects what is on hand, by a signed quantity and with a reason."""
    return await _do(wish, sku, AdjustStock(adjustment.quantity, adjustment.reason), wait_s, parts, response)


@router.get("/stock/{sku:path}/events")
async def history(sku: Name, wait_s: WaitS, parts: ThePart, response: Response) -> list[dict[str, Any]]:
    """All that happened to a SKU's stock, by version."""
    events = await parts.histories.of_single_writer("inventory", sku, wait_s)
    if not events:
        raise not_found("sku-not-found", "there is no such SKU")
    stamp(response, Token("inventory", sku, len(events)))
    return [to_json(event) for event in events]


@router.get("/stock/{sku:path}")
async def show(
    sku: Name,
    wanted: Wanted,
    wait_s: WaitS,
    past: MaybePast,
    between: MaybeBetween,
    parts: ThePart,
    response: Response,
) -> dict[str, Any]:
    """What there is, or was, of one SKU, or what changed between two moments."""
    if between is not None:
        return await PastRows(parts.histories).diff("stock", sku, between)
    if past is None:
        version = version_for(wanted, "inventory", sku)
        row = await parts.reader.value(WantedRow("stock", sku, version, wait_s))
    else:
        row = await PastRows(parts.histories).value("stock", sku, past)
    if row is None:
        raise not_found("sku-not-found", "there is no such SKU")
    stamp(response, Token("inventory", sku, row["version"]))
    response.headers["ETag"] = f'"{row["version"]}"'
    return row


async def _do(
    wish: Origin, sku: str, body: ReceiveStock | AdjustStock, wait_s: float, parts: Parts, response: Response
) -> dict[str, Any]:
    """Sends the command unless its answer is there already, then waits for the answer for a while."""
    command = command_message(wish, "inventory", sku, body, now())
    ends = time.monotonic() + wait_s
    answer = await _answer(command, parts)
    if answer is None:
        try:
            await parts.commands.send(INVENTORY_COMMANDS, command)
        except NotSent as error:
            raise unavailable("kafka-out-of-reach", f"the command was not taken: {error}") from error
    while answer is None and time.monotonic() < ends:
        await asyncio.sleep(min(PAUSE_S, max(0.0, ends - time.monotonic())))
        answer = await _answer(command, parts)
    if answer is None:
        response.status_code = 202
        response.headers["Location"] = f"/commands/{command.envelope.id}"
        return {"sku": sku, "command_id": command.envelope.id}
    if answer["outcome"] != OUTCOME_DONE:
        raise conflict("refused", f"the stock of {sku} was not changed: {answer['reason']}", reason=answer["reason"])
    stamp(response, Token("inventory", sku, answer["version"]))
    return {"sku": sku, "version": answer["version"]}


async def _answer(command: Message, parts: Parts) -> dict[str, Any] | None:
    """The agent's answer; None while there is none or its worker cannot be asked. Raises CommandIdReused."""
    wanted = WantedRow(TABLE, command.envelope.id, routing_key=command.envelope.subject)
    try:
        row = await parts.reader.row(wanted)
    except Problem:
        # The command does not depend on whether the worker can be asked now: it is kept, and its answer stays.
        return None
    if row is None:
        return None
    value: dict[str, Any] = row["value"]
    if value["hash"] != body_hash(command):
        raise CommandIdReused(command.envelope.id)
    return value
