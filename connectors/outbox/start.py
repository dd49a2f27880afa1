"""Where to begin: the stored position, the slot and the server held against each other, each mismatch by its own name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from connectors.outbox.config import OutboxConfig
from connectors.outbox.database import Slot
from connectors.outbox.errors import (
    Diverged,
    OtherSystem,
    PositionMissing,
    SlotAhead,
    SlotLost,
    SlotMissing,
    SlotUnfit,
    StartRefused,
)
from connectors.outbox.positions import StoredPosition, format_position, switch_position
from connectors.outbox.stream import System

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Found:
    """What a start finds; `history` is the server's timeline history file."""

    server: System
    history: str
    slot: Slot | None
    stored: StoredPosition | None


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on from here; the timeline is the server's present one."""

    stored: StoredPosition


@dataclass(frozen=True, slots=True)
class FirstTime:
    """Make the slot, send what is in the table, store the first position."""

    drop_slot: bool


def judge(config: OutboxConfig, found: Found, forget: bool, resume: str | None = None) -> Resume | FirstTime:
    """Raises a StartRefused that names what does not fit and the way out; `resume` is that of OutboxConfig."""
    slot, stored = found.slot, found.stored
    if slot is not None and slot.unfit is not None:
        # Another's: neither read nor dropped by any way out.
        raise SlotUnfit(config.slot, slot.unfit)
    if forget or (stored is not None and stored.making):
        # A slot whose making was announced and whose first position was never stored has published nothing.
        return FirstTime(drop_slot=slot is not None)
    try:
        return _fit(config, found)
    except StartRefused as refused:
        if resume == "republish":
            _log.warning("starts as for the first time", verdict=type(refused).__name__, instead_of=str(refused))
            return FirstTime(drop_slot=slot is not None)
        if resume == "slot" and slot is not None and slot.lost is None:
            _log.warning("goes on where the slot is", verdict=type(refused).__name__, instead_of=str(refused))
            return Resume(StoredPosition(found.server.system, found.server.timeline, config.slot, slot.confirmed))
        raise


def _fit(config: OutboxConfig, found: Found) -> Resume | FirstTime:
    slot, stored = found.slot, found.stored
    if stored is None:
        if slot is None:
            return FirstTime(drop_slot=False)
        raise PositionMissing(config.slot, config.positions_topic)
    if stored.system != found.server.system:
        raise OtherSystem(stored.system, found.server.system)
    if slot is None:
        raise SlotMissing(config.slot, format_position(stored.position))
    if slot.lost is not None:
        raise SlotLost(config.slot, slot.lost)
    _judge_timeline(found.server.timeline, found.history, stored)
    if slot.confirmed > stored.position:
        raise SlotAhead(config.slot, format_position(slot.confirmed), format_position(stored.position))
    return Resume(replace(stored, timeline=found.server.timeline))


def _judge_timeline(timeline: int, history: str, stored: StoredPosition) -> None:
    """A promoted standby is the same database only up to where it left the old timeline."""
    if timeline == stored.timeline:
        return
    switched_at = switch_position(history, stored.timeline)
    # `part_of` is where a commit record begins: one that begins at the switch is not on this side.
    if switched_at is None or stored.position > switched_at or stored.part_of >= switched_at:
        raise Diverged(format_position(stored.position), stored.timeline, timeline)
