"""Rows of the tables of inventory, as plain JSON values, and back."""

from __future__ import annotations

from typing import Any

from schemas.envelope import from_rfc3339, to_rfc3339
from schemas.keys import SEPARATOR
from streams.inventory.stock import Hold, HoldStatus, Level

Row = dict[str, Any]


def hold_key(sku: str, order_id: str, line: int) -> str:
    """Key of a hold in the table `holds`."""
    return f"{sku}{SEPARATOR}{order_id}{SEPARATOR}{line}"


def level_to_row(level: Level) -> Row:
    """A row of `stock_levels`."""
    return {"on_hand": level.on_hand, "reserved": level.reserved, "version": level.version, "known": level.known}


def level_from_row(row: Row | None) -> Level:
    """The reverse; a SKU without a row has nothing."""
    return Level() if row is None else Level(**row)


def hold_to_row(hold: Hold) -> Row:
    """A row of `holds`."""
    row: Row = {
        "quantity": hold.quantity,
        "status": hold.status.value,
        "reason": hold.reason,
        "command_id": hold.command_id,
        "version": hold.version,
    }
    # What few have needs no room in the others.
    if hold.returned:
        row["returned"] = [list(entry) for entry in hold.returned]
    if hold.held_at is not None:
        row["held_at"] = to_rfc3339(hold.held_at)
    return row


def hold_from_row(row: Row | None) -> Hold | None:
    """The reverse."""
    if row is None:
        return None
    return Hold(
        quantity=row["quantity"],
        status=HoldStatus(row["status"]),
        reason=row["reason"],
        command_id=row["command_id"],
        version=row["version"],
        returned=tuple((number, units) for number, units in row.get("returned", ())),
        held_at=from_rfc3339(row["held_at"]) if "held_at" in row else None,
    )
