"""Handling of one stock command: repeats answered from rows, the rest decided, events and answer given back."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.envelope import Message, body_hash, derive_id, to_rfc3339
from schemas.messages import (
    AdjustStock,
    AskStatus,
    CommandAnswered,
    ReceiveStock,
    ReleaseStock,
    ReserveStock,
    ReturnStock,
    ShipStock,
)
from schemas.topics import INVENTORY_EVENTS
from streams.errors import CommandIdReused, UnexpectedMessage
from streams.inventory.rows import Row, hold_from_row, hold_key, hold_to_row, level_from_row, level_to_row
from streams.inventory.shortages import relieve
from streams.inventory.stock import Decision, Hold, HoldStatus, Outcome, Stock, answer_from, decide, evolve
from streams.outgoing import Address, Outgoing, answer, follow, wants_answer

SOURCE = "/tally/inventory"
# A command older than this by record time is refused: what remembers its id may be gone (G6).
HORIZON = timedelta(days=30)

EXPIRED = "EXPIRED"
COMMAND_ID_REUSED = "COMMAND_ID_REUSED"

Rows = MutableMapping[str, Row]


@dataclass(frozen=True, slots=True)
class InventoryTables:
    """The rows of one partition: `levels` by SKU, `holds` by `hold_key`, `commands` by command id."""

    levels: Rows
    holds: Rows
    commands: Rows


def handle(command: Message, tables: InventoryTables, at: datetime) -> list[Outgoing]:
    """Changes the rows and gives what is to be sent, recorded at `at`.

    Raises UnexpectedMessage for what is no command of stock, and CommandIdReused where a reused id comes from
    somebody who waits for no answer; neither changes a row.
    """
    match command.body:
        case ReserveStock() | ReleaseStock() | ShipStock() | ReturnStock():
            return _handle_hold(command, tables, at)
        case ReceiveStock() | AdjustStock():
            return _handle_level(command, tables, at)
        case AskStatus():
            return [_tell(command, tables, at)]
    raise UnexpectedMessage(command.envelope.type, "inventory.commands")


def _handle_hold(command: Message, tables: InventoryTables, at: datetime) -> list[Outgoing]:
    body, envelope, sku = command.body, command.envelope, command.envelope.subject
    key = hold_key(sku, body.order_id, body.line)
    hold = hold_from_row(tables.holds.get(key))
    if _reuses_id(hold, command):
        return _refuse_reused(command, at)
    stock = Stock(level_from_row(tables.levels.get(sku)), hold)
    if hold is None and at - envelope.recorded_at > HORIZON:
        decision = Decision((), Outcome.REFUSED, EXPIRED)
    else:
        decision = decide(stock, body)
    stock, out = _append(stock, command, decision, at)
    if out:
        tables.levels[sku] = level_to_row(stock.level)
        if stock.hold is not None:
            tables.holds[key] = hold_to_row(stock.hold)
        if isinstance(body, ShipStock):
            out += relieve(command.envelope, stock.level, tables.holds, SOURCE, at)
    if wants_answer(envelope):
        version = stock.hold.version if stock.hold is not None else None
        out.append(_answer(command, decision, version, at))
    return out


def _handle_level(command: Message, tables: InventoryTables, at: datetime) -> list[Outgoing]:
    body, envelope, sku = command.body, command.envelope, command.envelope.subject
    content_hash = body_hash(command)
    remembered = tables.commands.get(envelope.id)
    if remembered is not None:
        if remembered["hash"] != content_hash:
            return _refuse_reused(command, at)
        if not wants_answer(envelope):
            return []
        decision = Decision((), Outcome(remembered["outcome"]), remembered["reason"])
        return [_answer(command, decision, remembered["version"], at)]
    stock = Stock(level_from_row(tables.levels.get(sku)))
    decision = Decision((), Outcome.REFUSED, EXPIRED) if at - envelope.recorded_at > HORIZON else decide(stock, body)
    stock, out = _append(stock, command, decision, at)
    if out:
        tables.levels[sku] = level_to_row(stock.level)
    tables.commands[envelope.id] = {
        "hash": content_hash,
        "outcome": decision.outcome.value,
        "reason": decision.reason,
        "event_ids": [sent.message.envelope.id for sent in out],
        "sku": sku,
        "version": stock.level.version,
        "recorded_at": to_rfc3339(at),
    }
    if out:
        out += relieve(command.envelope, stock.level, tables.holds, SOURCE, at)
    if wants_answer(envelope):
        out.append(_answer(command, decision, stock.level.version, at))
    return out


def _tell(question: Message, tables: InventoryTables, at: datetime) -> Outgoing:
    """Answers once more what became of a reservation, from its hold; a question changes nothing."""
    asked = question.body
    key = hold_key(question.envelope.subject, asked.order_id, asked.line or 0)
    hold = hold_from_row(tables.holds.get(key))
    decision = Decision((), Outcome.UNDECIDED) if hold is None else answer_from(hold)
    told = CommandAnswered(
        command_id=asked.command_id,
        command_type=asked.command_type,
        outcome=decision.outcome.value,
        reason=decision.reason,
        line=asked.line,
        version=None if hold is None else hold.version,
    )
    return answer(question.envelope, told, asked.order_id, SOURCE, at)


def _append(stock: Stock, command: Message, decision: Decision, at: datetime) -> tuple[Stock, list[Outgoing]]:
    """The decided events in their envelopes, and the state after them."""
    out = []
    for index, body in enumerate(decision.events):
        to = Address(SOURCE, "inventory", command.envelope.subject, stock.level.version + 1)
        event = follow(command.envelope, derive_id(command.envelope.id, index), to, body, at)
        stock = evolve(stock, event)
        out.append(Outgoing(INVENTORY_EVENTS, event))
    return stock, out


def _reuses_id(hold: Hold | None, command: Message) -> bool:
    """Whether this command's id made the hold, yet with another wish."""
    if hold is None or hold.command_id != command.envelope.id:
        return False
    match command.body:
        case ReserveStock(quantity=quantity):
            return quantity != hold.quantity or hold.status is HoldStatus.FENCED
        case ReleaseStock():
            return hold.status is not HoldStatus.FENCED
    return True


def _refuse_reused(command: Message, at: datetime) -> list[Outgoing]:
    if not wants_answer(command.envelope):
        raise CommandIdReused(command.envelope.id)
    return [_answer(command, Decision((), Outcome.REFUSED, COMMAND_ID_REUSED), None, at)]


def _answer(command: Message, decision: Decision, version: int | None, at: datetime) -> Outgoing:
    body = command.body
    answered = CommandAnswered(
        command_id=command.envelope.id,
        command_type=command.envelope.type,
        outcome=decision.outcome.value,
        reason=decision.reason,
        # Of an order's returned lines each has a number of its own.
        line=getattr(body, "number", None) or getattr(body, "line", None),
        version=version,
    )
    order_id: str = getattr(body, "order_id", command.envelope.correlation_id)
    return answer(command.envelope, answered, order_id, SOURCE, at)
