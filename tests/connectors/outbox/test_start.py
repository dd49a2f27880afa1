"""Where to begin: every mismatch of position, slot and server has a verdict of its own."""

import pytest

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
from connectors.outbox.positions import StoredPosition, format_position, parse_position
from connectors.outbox.start import FirstTime, Found, Resume, judge
from connectors.outbox.stream import System

CONFIG = OutboxConfig(name="n", source_url="", bootstrap="", table="public.outbox", slot="s")
STORED = StoredPosition("sys", 1, "s", 100)
SLOT = Slot(100, None, "pgoutput", None)
# As a server of timeline 3 writes it.
HISTORY = "1\t0/64\tno recovery target specified\n\n2\t0/C8\tno recovery target specified\n"


def found(
    stored: StoredPosition | None = STORED, slot: Slot | None = SLOT, system: str = "sys", timeline: int = 1
) -> Found:
    return Found(System(system, timeline), HISTORY if timeline == 3 else "", slot, stored)


def test_a_position_behind_the_slot_is_resumed() -> None:
    assert judge(CONFIG, found(), forget=False) == Resume(STORED)


def test_neither_slot_nor_position_is_a_first_time() -> None:
    assert judge(CONFIG, found(stored=None, slot=None), forget=False) == FirstTime(drop_slot=False)


def test_a_slot_half_made_is_made_again() -> None:
    making = StoredPosition("sys", 1, "s", 0, making=True)
    assert judge(CONFIG, found(stored=making), forget=False) == FirstTime(drop_slot=True)
    assert judge(CONFIG, found(stored=making, slot=None), forget=False) == FirstTime(drop_slot=False)


def test_forgetting_starts_as_for_the_first_time_whatever_is_found() -> None:
    assert judge(CONFIG, found(system="other", slot=Slot(500, None, "pgoutput", "lost")), forget=True) == FirstTime(
        drop_slot=True
    )


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (found(slot=Slot(101, None, "pgoutput", None)), SlotAhead),
        (found(slot=None), SlotMissing),
        (found(stored=None), PositionMissing),
        (found(system="other"), OtherSystem),
        (found(slot=Slot(0, None, "pgoutput", "wal_status is lost")), SlotLost),
        (found(stored=StoredPosition("sys", 1, "s", 101), timeline=3), Diverged),
        (found(stored=StoredPosition("sys", 7, "s", 100), timeline=3), Diverged),
        (found(stored=StoredPosition("sys", 3, "s", 100), timeline=1), Diverged),
    ],
)
def test_what_does_not_fit_has_a_verdict_a_code_and_a_way_out(given: Found, verdict: type[StartRefused]) -> None:
    with pytest.raises(verdict) as raised:
        judge(CONFIG, given, forget=False)
    assert raised.value.exit_code is not None
    assert "-" in str(raised.value)


def test_a_slot_that_is_another_s_is_refused_whatever_way_out_is_given() -> None:
    given = found(slot=Slot(100, None, "pgoutput", None, unfit="it is of the database d"))
    for forget, resume in ((False, None), (True, None), (False, "slot"), (False, "republish")):
        with pytest.raises(SlotUnfit, match="of the database d"):
            judge(CONFIG, given, forget, resume)


def test_a_way_out_changes_nothing_where_all_fits() -> None:
    for resume in ("slot", "republish"):
        assert judge(CONFIG, found(), forget=False, resume=resume) == Resume(STORED)


def test_resuming_at_the_slot_takes_its_position_and_the_server_s_timeline() -> None:
    ahead = found(slot=Slot(150, None, "pgoutput", None), timeline=3)
    assert judge(CONFIG, ahead, forget=False, resume="slot") == Resume(StoredPosition("sys", 3, "s", 150))


@pytest.mark.parametrize("slot", [None, Slot(100, None, "pgoutput", "wal_removed")])
def test_a_slot_that_is_gone_or_lost_cannot_be_resumed_at(slot: Slot | None) -> None:
    with pytest.raises((SlotMissing, SlotLost)):
        judge(CONFIG, found(slot=slot), forget=False, resume="slot")
    assert judge(CONFIG, found(slot=slot), forget=False, resume="republish") == FirstTime(drop_slot=slot is not None)


def test_a_part_of_a_transaction_that_a_new_timeline_lacks_is_diverged() -> None:
    part = StoredPosition("sys", 1, "s", 90, part_of=99, part_rows=5)
    assert judge(CONFIG, found(stored=part, slot=Slot(80, None, "pgoutput", None), timeline=3), forget=False) == Resume(
        StoredPosition("sys", 3, "s", 90, part_of=99, part_rows=5)
    )
    beyond = StoredPosition("sys", 1, "s", 90, part_of=100, part_rows=5)
    with pytest.raises(Diverged):
        judge(CONFIG, found(stored=beyond, slot=Slot(80, None, "pgoutput", None), timeline=3), forget=False)


def test_a_part_is_kept_until_its_transaction_lies_behind() -> None:
    part = StoredPosition("sys", 1, "s", 90, part_of=99, part_rows=5)
    assert part.moved_to(99) == StoredPosition("sys", 1, "s", 99, part_of=99, part_rows=5)
    assert part.moved_to(100) == StoredPosition("sys", 1, "s", 100)


def test_codes_are_distinct() -> None:
    verdicts = StartRefused.__subclasses__()
    assert len({verdict.exit_code for verdict in verdicts}) == len(verdicts)


def test_a_new_timeline_is_taken_if_it_holds_all_that_is_stored() -> None:
    resumed = judge(CONFIG, found(stored=StoredPosition("sys", 1, "s", 100), timeline=3), forget=False)
    assert resumed == Resume(StoredPosition("sys", 3, "s", 100))


@pytest.mark.parametrize("position", [0, 1, 2**32, 2**64 - 1, 0x16_B374D848])
def test_a_position_is_written_as_postgresql_does(position: int) -> None:
    assert parse_position(format_position(position)) == position


def test_a_stored_position_comes_back() -> None:
    for stored in (
        STORED,
        StoredPosition("sys", 2, "s", 0, making=True),
        StoredPosition("sys", 2, "s", 7, part_of=2**40, part_rows=9),
    ):
        assert StoredPosition.from_json(stored.to_json(1.5)) == stored


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b'{"system":"1","timeline":1,"slot":"s","lsn":"x"}', b"null"])
def test_a_record_that_is_no_position_is_refused(value: bytes) -> None:
    with pytest.raises(StartRefused, match="cannot be read"):
        StoredPosition.from_json(value)
